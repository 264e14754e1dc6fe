//! The report as one page that needs nothing else: no script, no font, no image from elsewhere.

use std::fmt::Write as _;

use super::charts;
use super::figures::{Column, Report};
use crate::model::Span;

/// Colours that can be told apart in light and dark, also by most who see fewer of them.
const STYLE: &str = "
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2330; --faint: #667085; --rule: #d8dde6;
  --work: #2e7d6b; --boot: #e0a030; --idle: #7aa6d8; --drain: #9a86c9; --retry: #cf4f4f;
  --c0: #1b6ac9; --c1: #c2410c; --c2: #15803d; --c3: #a21caf; --c4: #a16207; --c5: #0e7490;
  --c6: #b91c1c; --c7: #57534e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e6eaf2; --faint: #98a2b3;
  --rule: #323a48; --work: #4fae97; --boot: #e6b450; --idle: #5b86bd; --drain: #ab98dc; --retry: #e57373;
  --c0: #6aa9f4; --c1: #fb923c; --c2: #4ade80; --c3: #e879f9; --c4: #facc15; --c5: #22d3ee;
  --c6: #f87171; --c7: #a8a29e; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p, li { max-width: 46rem; } .faint, li { color: var(--faint); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg .name { text-anchor: end; } svg .tick { text-anchor: middle; fill: var(--faint); font-size: 12px; }
svg .value { fill: var(--faint); }
.work { fill: var(--work); } .boot { fill: var(--boot); } .idle { fill: var(--idle); }
.drain { fill: var(--drain); } .retry { fill: var(--retry); }
.grid { stroke: var(--rule); } .floor { stroke: var(--ink); stroke-dasharray: 4 4; }
.line { fill: none; stroke-width: 2; }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); }
.c4 { fill: var(--c4); } .c5 { fill: var(--c5); } .c6 { fill: var(--c6); } .c7 { fill: var(--c7); }
.l0 { stroke: var(--c0); } .l1 { stroke: var(--c1); } .l2 { stroke: var(--c2); } .l3 { stroke: var(--c3); }
.l4 { stroke: var(--c4); } .l5 { stroke: var(--c5); } .l6 { stroke: var(--c6); } .l7 { stroke: var(--c7); }
.swatch { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
";

/// Draws a report as a page.
pub fn html(report: &Report) -> String {
    let mut page =
        String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let _ = write!(
        page,
        "<title>What it would have cost</title>\n<style>{STYLE}</style>\n"
    );
    page.push_str("</head>\n<body>\n<h1>What it would have cost</h1>\n");
    let _ = writeln!(
        page,
        "<p>{}: {} builds, {} to {}. Costs are estimates from list prices; everything but real builds \
         was simulated.</p>",
        escape(&report.history),
        report.builds,
        report.from,
        report.to
    );
    page.push_str("<div class=\"scroll\">\n");
    page.push_str(&table(report));
    page.push_str("</div>\n");
    let swatch = |class: &str, words: &str| {
        format!(
            "<svg class=\"swatch\" viewBox=\"0 0 10 10\"><rect width=\"10\" height=\"10\" \
             class=\"{class}\"/></svg>{words}"
        )
    };
    let keys = [
        swatch("work", "builds"),
        swatch("boot", "boot"),
        swatch("idle", "idle"),
        swatch("drain", "on the way out"),
        swatch("retry", "builds cut off"),
    ];
    section(&mut page, "Cost", &keys.concat(), &charts::costs(report));
    let words = "Share of builds that waited no longer than so long for their first step.";
    section(&mut page, "Waits", words, &charts::waits(report));
    let words = "Machines that run, on one scale: with a build (dark) and without.";
    section(&mut page, "Machines", words, &charts::machines(report));
    let words =
        "Cost against the wait that 95 of a hundred builds stay below. Left and low is good.";
    section(&mut page, "Cost and wait", words, &charts::frontier(report));
    waste(&mut page, &report.columns);
    page.push_str("<h2>What was compared</h2>\n<ul>\n");
    for column in &report.columns {
        let (name, about) = (escape(&column.name), escape(&column.about));
        let _ = writeln!(page, "<li><b>{name}</b>: {about}</li>");
    }
    for note in &report.notes {
        let _ = writeln!(page, "<li>{}</li>", escape(note));
    }
    page.push_str("</ul>\n</body>\n</html>\n");
    page
}

fn section(page: &mut String, title: &str, words: &str, chart: &str) {
    let _ = write!(
        page,
        "<h2>{title}</h2>\n<p class=\"faint\">{words}</p>\n{chart}"
    );
}

fn table(report: &Report) -> String {
    let mut text = String::from("<table>\n<tr>");
    for title in [
        "",
        "cost",
        "overhead",
        "/ optimum",
        "p50 wait",
        "p95",
        "p99",
        "cold",
        "machines",
        "at once",
    ] {
        let _ = write!(text, "<th>{title}</th>");
    }
    text.push_str("</tr>\n");
    let optimum = &report.optimum;
    let clairvoyant = [
        "clairvoyant".to_owned(),
        dollars(optimum.total),
        dollars(optimum.overhead()),
        "1.00".to_owned(),
        length(0),
        length(0),
        length(0),
    ];
    row(&mut text, &clairvoyant);
    for column in &report.columns {
        let figures = &column.figures;
        let cells = [
            column.name.clone(),
            dollars(figures.cost.total),
            dollars(figures.cost.overhead()),
            ratio(column.ratios.overhead),
            length(figures.waits.p50),
            length(figures.waits.p95),
            length(figures.waits.p99),
            percent(figures.cold_per_mille),
            figures.machines.to_string(),
            figures.most_at_once.to_string(),
        ];
        row(&mut text, &cells);
    }
    if let Some(waits) = &report.recorded {
        let mut cells = vec!["as it was".to_owned()];
        cells.resize(4, String::new());
        cells.extend([waits.p50, waits.p95, waits.p99].map(length));
        row(&mut text, &cells);
    }
    text + "</table>\n"
}

fn row(text: &mut String, cells: &[String]) {
    text.push_str("<tr>");
    for cell in cells {
        let _ = write!(text, "<td>{}</td>", escape(cell));
    }
    text.push_str("</tr>\n");
}

fn waste(page: &mut String, columns: &[Column]) {
    page.push_str("<h2>Where the overhead went</h2>\n<div class=\"scroll\">\n<table>\n");
    for column in columns {
        for (place, waste) in column.figures.waste.iter().enumerate() {
            let name = if place == 0 { column.name.as_str() } else { "" };
            let cells = [
                name.to_owned(),
                waste.reason.words().to_owned(),
                length(waste.time),
                dollars(waste.cost),
            ];
            row(page, &cells);
        }
    }
    page.push_str("</table>\n</div>\n");
}

/// Text for a page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Micro-dollars, to the cent.
pub(super) fn dollars(micros: i64) -> String {
    let cents = micros.saturating_add(5_000).div_euclid(10_000);
    format!("${}.{:02}", cents / 100, cents % 100)
}

/// Microseconds, in the two largest units.
pub(super) fn length(micros: u64) -> String {
    if micros < 60_000_000 {
        return format!("{}.{}s", micros / 1_000_000, micros % 1_000_000 / 100_000);
    }
    let seconds = micros / 1_000_000;
    let whole = if seconds < 3_600 {
        seconds
    } else {
        seconds / 60 * 60
    };
    Span::from_secs(whole).to_string()
}

fn ratio(per_mille: Option<u64>) -> String {
    per_mille.map_or("-".to_owned(), |ratio| {
        format!("{}.{:02}", ratio / 1_000, ratio % 1_000 / 10)
    })
}

fn percent(per_mille: u64) -> String {
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}
