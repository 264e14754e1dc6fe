//! What a simulation prints: progress while it runs, then the answer.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex};

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Output, Table, Tone, column, numbers, words};
use crate::cli::report::{Outcome, file_error};
use crate::model::Span;
use crate::simulate::report::{Column, Report, Sample, Waits, WasteReason, html};

/// Tells on standard error how far a long run is; on a terminal only, and in one line.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    is_shown: bool,
    /// The last text, so that nothing is written twice.
    last: Arc<Mutex<String>>,
}

impl Progress {
    pub(super) fn of(output: Output) -> Self {
        Self {
            is_shown: !output.is_json() && io::stderr().is_terminal(),
            last: Arc::default(),
        }
    }

    /// `policies/ 40 %`
    pub(super) fn tell(&self, what: &str, done: usize, of: usize) {
        let percent = done * 100 / of.max(1);
        self.write(format!("{what}: {percent} %"));
    }

    /// Clears the line.
    pub(super) fn end(&self) {
        self.write(String::new());
    }

    fn write(&self, text: String) {
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        if self.is_shown && *last != text {
            // Nobody to tell when even that fails.
            let _ = write!(io::stderr(), "\r\x1b[K{text}").and_then(|()| io::stderr().flush());
            *last = text;
        }
    }
}

/// What is to be printed.
#[derive(Debug)]
pub(super) enum Answer {
    /// A comparison.
    Report(Box<Report>, Option<std::path::PathBuf>),
    /// Text for people, and the same for programs.
    Text(String, serde_json::Value),
}

impl Answer {
    pub(super) fn print(self, ctx: &Context) -> Outcome {
        match self {
            Self::Text(text, value) => ctx.output.answer(&value, |_| text)?,
            Self::Report(report, page) => {
                if let Some(path) = page {
                    std::fs::write(&path, html(&report))
                        .map_err(|error| file_error("write", &path, &error))?;
                    ctx.output.note(&format!("charts: {}", path.display()));
                }
                ctx.output
                    .answer(&report, |report| draw(report, ctx.output))?;
            }
        }
        Ok(Exit::Success)
    }
}

/// A comparison for people.
fn draw(report: &Report, output: Output) -> String {
    let paper = output.paper;
    let head = format!(
        "{}: {} from {} to {}\n\n",
        report.history,
        words::count(u64::try_from(report.builds).unwrap_or(u64::MAX), "build"),
        report.from,
        report.to
    );
    let notes: String = report
        .notes
        .iter()
        .map(|note| format!("- {note}\n"))
        .collect::<Vec<_>>()
        .concat();
    let abouts: String = report
        .columns
        .iter()
        .map(|column| format!("- {}: {}\n", column.name, column.about))
        .collect::<Vec<_>>()
        .concat();
    [
        head,
        comparison(report).draw(paper),
        "\nWhere the money went\n".to_owned(),
        waste(&report.columns).draw(paper),
        "\nMachines over time\n".to_owned(),
        over_time(&report.columns).draw(paper),
        format!("\n{abouts}{notes}"),
    ]
    .concat()
}

fn comparison(report: &Report) -> Table {
    let mut table = Table::new(&[
        column("", Fit::Shrink),
        numbers("COST", Fit::Whole),
        numbers("OVERHEAD", Fit::Whole),
        numbers("/OPTIMUM", Fit::Whole),
        numbers("P50 WAIT", Fit::Drop(3)),
        numbers("P95", Fit::Whole),
        numbers("P99", Fit::Drop(2)),
        numbers("COLD", Fit::Drop(1)),
        numbers("MACHINES", Fit::Drop(5)),
        numbers("AT ONCE", Fit::Drop(4)),
        numbers("NO RESULT", Fit::Drop(6)),
    ]);
    let none = || (words::NONE.to_owned(), Tone::Faint);
    let plain = |text: String| (text, Tone::Plain);
    let optimum = &report.optimum;
    table.row([
        plain("clairvoyant".to_owned()),
        plain(words::micro_usd(optimum.total)),
        plain(words::micro_usd(optimum.overhead())),
        plain("1.00".to_owned()),
        plain(wait(0)),
        plain(wait(0)),
        plain(wait(0)),
        none(),
        none(),
        none(),
        none(),
    ]);
    for one in &report.columns {
        let figures = &one.figures;
        let lost = figures.results.get("infra_failure").copied().unwrap_or(0);
        table.row([
            plain(one.name.clone()),
            plain(words::micro_usd(figures.cost.total)),
            plain(words::micro_usd(figures.cost.overhead())),
            plain(ratio(one.ratios.overhead)),
            plain(wait(figures.waits.p50)),
            plain(wait(figures.waits.p95)),
            plain(wait(figures.waits.p99)),
            plain(percent(figures.cold_per_mille)),
            plain(figures.machines.to_string()),
            plain(figures.most_at_once.to_string()),
            plain(lost.to_string()),
        ]);
    }
    if let Some(waits) = &report.recorded {
        table.row(as_it_was(waits));
    }
    table
}

fn as_it_was(waits: &Waits) -> [(String, Tone); 11] {
    let none = || (words::NONE.to_owned(), Tone::Faint);
    let plain = |text: String| (text, Tone::Plain);
    [
        plain("as it was".to_owned()),
        none(),
        none(),
        none(),
        plain(wait(waits.p50)),
        plain(wait(waits.p95)),
        plain(wait(waits.p99)),
        none(),
        none(),
        none(),
        none(),
    ]
}

fn waste(columns: &[Column]) -> Table {
    let mut table = Table::new(&[
        column("", Fit::Shrink),
        numbers("WORK", Fit::Whole),
        numbers("BOOT", Fit::Whole),
        numbers("UNUSED", Fit::Drop(3)),
        numbers("BEFORE 1ST", Fit::Drop(2)),
        numbers("BETWEEN", Fit::Whole),
        numbers("AFTER LAST", Fit::Whole),
        numbers("CUT OFF", Fit::Drop(1)),
    ]);
    for one in columns {
        let of = |reason: WasteReason| {
            let found = one
                .figures
                .waste
                .iter()
                .find(|waste| waste.reason == reason);
            let text = found.map_or(words::NONE.to_owned(), |found| words::micro_usd(found.cost));
            (text, Tone::Faint)
        };
        table.row([
            (one.name.clone(), Tone::Plain),
            (words::micro_usd(one.figures.cost.work), Tone::Plain),
            of(WasteReason::Boot),
            of(WasteReason::Unused),
            of(WasteReason::BeforeFirst),
            of(WasteReason::Between),
            of(WasteReason::AfterLast),
            of(WasteReason::Retry),
        ]);
    }
    table
}

fn over_time(columns: &[Column]) -> Table {
    let mut table = Table::new(&[column("", Fit::Shrink), column("MACHINES", Fit::Whole)]);
    let samples = columns.iter().flat_map(|column| &column.figures.samples);
    let most = samples
        .map(|sample| sample.busy + sample.idle)
        .max()
        .unwrap_or(0);
    for one in columns {
        let line = sparkline(&one.figures.samples, most);
        table.row([(one.name.clone(), Tone::Plain), (line, Tone::Plain)]);
    }
    table
}

/// Machines over time in one line, all lines on one scale.
fn sparkline(samples: &[Sample], most: u64) -> String {
    const WIDTH: usize = 56;
    const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let each = samples.len().div_ceil(WIDTH).max(1);
    let level = |stretch: &[Sample]| {
        let sum: u64 = stretch.iter().map(|sample| sample.busy + sample.idle).sum();
        let mean = sum / u64::try_from(stretch.len()).unwrap_or(1).max(1);
        let step = (mean * 8).div_ceil(most.max(1)).min(8);
        usize::try_from(step)
            .ok()
            .and_then(|step| STEPS.get(step))
            .copied()
            .unwrap_or(' ')
    };
    samples.chunks(each).map(level).collect()
}

pub(super) fn wait(micros: u64) -> String {
    words::length(Span::from_micros(micros))
}

/// `1.25` of 1250.
pub(super) fn ratio(per_mille: Option<u64>) -> String {
    per_mille.map_or(words::NONE.to_owned(), |ratio| {
        format!("{}.{:02}", ratio / 1_000, ratio % 1_000 / 10)
    })
}

pub(super) fn percent(per_mille: u64) -> String {
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn sparklines_show_the_highest_in_full_and_nothing_as_nothing() {
        let sample = |busy| Sample {
            at: Timestamp::from_micros(0),
            busy,
            idle: 0,
        };
        assert_eq!(
            sparkline(&[sample(0), sample(1), sample(4_000), sample(8_000)], 8_000),
            " ▁▄█"
        );
        assert_eq!(sparkline(&[], 0), "");
    }

    #[test]
    fn ratios_have_two_places() {
        assert_eq!(ratio(Some(1_259)), "1.25");
        assert_eq!(ratio(None), "-");
        assert_eq!(percent(123), "12.3 %");
    }
}
