//! The Standard Workload Format 2.2: a job per line, 18 numbers, `;` begins a comment, -1 is unknown.
//!
//! <https://www.cs.huji.ac.il/labs/parallel/workload/swf.html>. Submit times are seconds since the
//! header's `UnixStartTime`. A job is played as one build on one machine, whatever processors it had:
//! the format comes from parallel computers, and machines here are bought by the piece.

use std::collections::BTreeMap;

use super::{Problems, Recorded, Trace, TraceError};
use crate::model::{Constraint, Requirement, Requirements, Span, Timestamp};
use crate::simulate::Work;

/// Fields of a line.
const FIELDS: usize = 18;

/// What we use of a line, by the format's numbering from 1.
#[derive(Debug)]
struct Job {
    /// 2: seconds since the start of the log.
    submit: i64,
    /// 3
    wait: i64,
    /// 4
    run: i64,
    /// 12
    user: i64,
    /// 13
    group: i64,
    /// 14
    executable: i64,
    /// 15
    queue: i64,
    /// 16
    partition: i64,
}

/// Reads a log.
pub(super) fn read(text: &str) -> Result<Trace, TraceError> {
    let mut trace = Trace::default();
    let mut problems = Problems::default();
    let mut start = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix(';') {
            start = start.or_else(|| start_time(comment));
        } else if !line.is_empty() {
            match job(line) {
                Ok(job) => add(&job, start.unwrap_or(0), &mut trace),
                Err(message) => problems.add(index + 1, message),
            }
        }
    }
    if start.is_none() {
        let note = "no UnixStartTime in the header: the history begins in 1970, and hours and \
                    weekdays are not those of real life";
        trace.notes.push(note.to_owned());
    }
    let note = "each job is one build on one machine, whatever its number of processors";
    trace.notes.push(note.to_owned());
    problems.finish(trace)
}

/// `UnixStartTime: 1072908000`
fn start_time(comment: &str) -> Option<i64> {
    let (name, value) = comment.split_once(':')?;
    (name.trim() == "UnixStartTime").then(|| value.trim().parse().ok())?
}

fn job(line: &str) -> Result<Job, String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if fields.len() != FIELDS {
        let count = fields.len();
        return Err(format!("{count} fields; expected {FIELDS} numbers"));
    }
    // Averages may have fractions, which do not matter here: none is used.
    let field = |place: usize| -> Result<i64, String> {
        let text = fields.get(place - 1).copied().unwrap_or_default();
        let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
        whole
            .parse()
            .map_err(|_| format!("field {place}: {text:?} is not a number"))
    };
    Ok(Job {
        submit: field(2)?,
        wait: field(3)?,
        run: field(4)?,
        user: field(12)?,
        group: field(13)?,
        executable: field(14)?,
        queue: field(15)?,
        partition: field(16)?,
    })
}

fn add(job: &Job, start: i64, trace: &mut Trace) {
    let (Ok(run), Ok(submit)) = (u64::try_from(job.run), u64::try_from(job.submit)) else {
        return trace.leave_out("of unknown length or submission");
    };
    if run == 0 {
        return trace.leave_out("canceled before they ran");
    }
    let origin = Timestamp::from_micros(start.saturating_mul(1_000_000));
    let submit = origin + Span::from_secs(submit);
    let started = u64::try_from(job.wait).ok();
    let known = |what: &str, number: i64| (number >= 0).then(|| format!("{what}-{number}"));
    let name = known("app", job.executable).or_else(|| known("user", job.user));
    let queue = known("queue", job.queue).map(|queue| ("queue".to_owned(), queue));
    trace.builds.push(Recorded {
        work: Work {
            submit,
            run: Span::from_secs(run),
            project: known("group", job.group).unwrap_or_else(|| "default".to_owned()),
            name: name.unwrap_or_else(|| "job".to_owned()),
            priority: 0,
            labels: queue.into_iter().collect::<BTreeMap<_, _>>(),
            requires: partition(job.partition),
            image: None,
            ..Work::default()
        },
        started: started.map(|wait| submit + Span::from_secs(wait)),
    });
}

/// Partitions of a computer are what images are here.
fn partition(number: i64) -> Requirements {
    let is = |number: i64| Requirement::AnyOf(vec![Constraint::Is(number.to_string())]);
    let known = (number >= 0).then(|| ("partition".to_owned(), is(number)));
    known.into_iter().collect()
}
