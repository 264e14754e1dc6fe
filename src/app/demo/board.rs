//! What is going on, a line per machine and build; and the bill.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use crate::api::view::{BuildSummary, CostReport, MachineView};
use crate::clock::{Clock, SystemClock};
use crate::model::{Span, Timestamp};

use super::LOOK;
use super::client::Client;

/// Shows builds and machines until all builds are over. On a terminal the lines stay in place;
/// elsewhere there is one line per change.
pub(super) async fn follow(
    client: &Client,
    pipeline: &str,
    quiet: bool,
) -> anyhow::Result<Vec<BuildSummary>> {
    let mut board = Board {
        live: !quiet && std::io::stdout().is_terminal(),
        quiet,
        ..Board::default()
    };
    loop {
        let builds = client.builds(pipeline).await?;
        let machines = client.machines(false).await?;
        board.show(&builds, &machines, SystemClock.now());
        if builds.iter().all(|build| build.result.is_some()) {
            return Ok(builds);
        }
        SystemClock.sleep(LOOK).await;
    }
}

#[derive(Debug, Default)]
struct Board {
    live: bool,
    quiet: bool,
    /// Lines on the terminal that the next picture replaces.
    drawn: usize,
    /// What was last said of each, where lines do not stay in place.
    said: BTreeMap<String, String>,
}

impl Board {
    fn show(&mut self, builds: &[BuildSummary], machines: &[MachineView], now: Timestamp) {
        if self.quiet {
            return;
        }
        let machines = machines.iter().map(|machine| {
            let of_it = |build: &&BuildSummary| machine.builds.contains(&build.id);
            let work: Vec<&str> = builds
                .iter()
                .filter(of_it)
                .map(|b| b.name.as_str())
                .collect();
            machine_line(machine, &work.join(", "), now)
        });
        let builds = builds.iter().map(|build| build_line(build, now));
        let lines: Vec<Line> = machines.chain(builds).collect();
        if self.live {
            self.redraw(&lines);
        } else {
            self.tell_changes(&lines);
        }
    }

    fn redraw(&mut self, lines: &[Line]) {
        let mut picture = String::new();
        if self.drawn > 0 {
            // Writing into a text cannot fail.
            let _ = write!(picture, "\x1b[{}A", self.drawn);
        }
        for line in lines {
            let _ = writeln!(picture, "\x1b[2K{} {}", line.state, line.numbers);
        }
        // Lines of machines that are gone leave room at the end.
        picture.push_str("\x1b[J");
        self.drawn = lines.len();
        print!("{picture}");
        // As for every line: nothing helps if standard output is gone.
        let _ = std::io::stdout().flush();
    }

    fn tell_changes(&mut self, lines: &[Line]) {
        for line in lines {
            if self.said.get(&line.subject) != Some(&line.state) {
                println!("{} {}", line.state, line.numbers);
                self.said.insert(line.subject.clone(), line.state.clone());
            }
        }
    }
}

/// A line: what it says of its subject, and the numbers that grow.
#[derive(Debug)]
struct Line {
    subject: String,
    state: String,
    numbers: String,
}

fn machine_line(machine: &MachineView, work: &str, now: Timestamp) -> Line {
    let id = machine.id.to_string();
    let tail = id
        .get(id.len().saturating_sub(6)..)
        .unwrap_or_default()
        .to_owned();
    Line {
        state: format!(
            "machine {:<26} {:<9} {work:<24}",
            format!("{} …{tail}", machine.image),
            machine.state.word()
        ),
        numbers: format!(
            "{:>6}  {}",
            seconds(now.since(machine.created_at)),
            dollars(machine.cost.micro_usd)
        ),
        subject: id,
    }
}

fn build_line(build: &BuildSummary, now: Timestamp) -> Line {
    let word = build
        .result
        .map_or(build.state.word(), |result| result.word());
    let elapsed = match (build.started_at, build.finished_at) {
        (Some(start), Some(end)) => end.since(start),
        (Some(start), None) => now.since(start),
        (None, _) => now.since(build.submitted_at),
    };
    Line {
        subject: build.id.to_string(),
        state: format!("build   {:<26} {word:<9} {:<24}", build.name, ""),
        numbers: format!("{:>6}", seconds(elapsed)),
    }
}

fn seconds(span: Span) -> String {
    format!("{:.1}s", span.to_std().as_secs_f64())
}

fn dollars(micros: i64) -> String {
    format!("${}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The cost report in lines: builds by name, then overhead, then the sum.
pub(super) fn bill(cost: &CostReport, builds: &[BuildSummary]) -> Vec<String> {
    let names: BTreeMap<String, &str> = builds
        .iter()
        .map(|build| (build.id.to_string(), build.name.as_str()))
        .collect();
    let mut lines: Vec<String> = cost
        .rows
        .iter()
        .map(|row| {
            let name = names
                .get(&row.key)
                .copied()
                .unwrap_or("overhead (idle, drain)");
            let parts: Vec<String> = row
                .by_category
                .iter()
                .filter(|(_, amount)| amount.micro_usd > 0)
                .map(|(category, amount)| format!("{category} {}", dollars(amount.micro_usd)))
                .collect();
            format!(
                "  {name:<28} {}  {}",
                dollars(row.total.micro_usd),
                parts.join(", ")
            )
        })
        .collect();
    lines.push(format!(
        "  {:<28} {}",
        "all machines",
        dollars(cost.total.micro_usd)
    ));
    lines
}
