//! Charts as SVG, drawn with classes that the page's style sheet colours for light and dark.

use std::fmt::Write as _;

use super::figures::{Column, Report, Sample, Split};
use super::html::{dollars, escape, length};

/// Width of every chart; pages scale them.
const WIDTH: f64 = 760.0;
/// Room for names on the left.
const LEFT: f64 = 170.0;
/// Room for figures on the right.
const RIGHT: f64 = 80.0;
/// Distinct line colours of the style sheet.
const COLOURS: usize = 8;

#[expect(
    clippy::cast_precision_loss,
    reason = "a chart has a thousand dots at most"
)]
fn number(value: u64) -> f64 {
    value as f64
}

fn amount(micros: i64) -> f64 {
    number(u64::try_from(micros).unwrap_or(0))
}

fn svg(height: f64, label: &str, body: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n{body}</svg>\n",
        escape(label)
    )
}

fn text(x: f64, y: f64, class: &str, words: &str) -> String {
    let words = escape(words);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{words}</text>\n")
}

/// A bar per column, cut by what the money was spent on; the clairvoyant's on top.
pub(super) fn costs(report: &Report) -> String {
    const ROW: f64 = 30.0;
    let rows: Vec<(&str, &Split)> = std::iter::once(("clairvoyant", &report.optimum))
        .chain(
            report
                .columns
                .iter()
                .map(|c| (c.name.as_str(), &c.figures.cost)),
        )
        .collect();
    let most = rows.iter().map(|(_, cost)| cost.total).max().unwrap_or(0);
    let scale = (WIDTH - LEFT - RIGHT) / amount(most).max(1.0);
    let mut body = String::new();
    let mut y = 4.0;
    for (name, cost) in &rows {
        body.push_str(&text(LEFT - 8.0, y + 16.0, "name", name));
        let mut x = LEFT;
        for (class, part) in [
            ("work", cost.work),
            ("boot", cost.boot),
            ("idle", cost.idle),
            ("drain", cost.drain),
            ("retry", cost.retry),
        ] {
            let width = amount(part) * scale;
            let title = format!("{name}: {class} {}", dollars(part));
            let _ = writeln!(
                body,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"22\" class=\"{class}\">\
                 <title>{}</title></rect>",
                escape(&title)
            );
            x += width;
        }
        body.push_str(&text(x + 6.0, y + 16.0, "value", &dollars(cost.total)));
        y += ROW;
    }
    svg(y, "cost by what it was spent on", &body)
}

/// The place of a wait on an axis that grows by factors: a quarter of a second to a day.
fn wait_x(micros: u64) -> f64 {
    const LEAST: f64 = 0.25;
    const MOST: f64 = 86_400.0;
    let seconds = (number(micros) / 1e6).clamp(LEAST, MOST);
    LEFT + (seconds / LEAST).ln() / (MOST / LEAST).ln() * (WIDTH - LEFT - RIGHT)
}

/// Ticks of such an axis.
const WAITS: [(u64, &str); 7] = [
    (250_000, "none"),
    (1_000_000, "1s"),
    (10_000_000, "10s"),
    (60_000_000, "1m"),
    (600_000_000, "10m"),
    (3_600_000_000, "1h"),
    (86_400_000_000, "1d"),
];

fn wait_axis(top: f64, bottom: f64) -> String {
    let mut body = String::new();
    for (micros, words) in WAITS {
        let x = wait_x(micros);
        let _ = writeln!(
            body,
            "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" class=\"grid\"/>"
        );
        body.push_str(&text(x, bottom + 16.0, "tick", words));
    }
    body
}

fn legend(columns: &[Column], mut y: f64) -> (String, f64) {
    let mut body = String::new();
    for pair in columns.iter().enumerate().collect::<Vec<_>>().chunks(2) {
        for (slot, (place, column)) in pair.iter().enumerate() {
            let x = LEFT + if slot == 0 { 0.0 } else { 270.0 };
            let colour = place % COLOURS;
            let _ = writeln!(
                body,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" class=\"c{colour}\"/>",
                y - 10.0
            );
            body.push_str(&text(x + 18.0, y, "key", &column.name));
        }
        y += 20.0;
    }
    (body, y)
}

/// The share of builds that waited no longer than so long, a line per column.
pub(super) fn waits(report: &Report) -> String {
    const TOP: f64 = 10.0;
    const BOTTOM: f64 = 250.0;
    let mut body = wait_axis(TOP, BOTTOM);
    let share_y = |per_mille: u64| BOTTOM - number(per_mille) / 1_000.0 * (BOTTOM - TOP);
    for (per_mille, words) in [(0, "0 %"), (500, "50 %"), (950, "95 %"), (1_000, "")] {
        let y = share_y(per_mille);
        let _ = writeln!(
            body,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" class=\"grid\"/>",
            WIDTH - RIGHT
        );
        body.push_str(&text(LEFT - 8.0, y + 4.0, "name", words));
    }
    for (place, column) in report.columns.iter().enumerate() {
        let points: Vec<_> = column
            .figures
            .distribution
            .iter()
            .map(|(share, wait)| format!("{:.1},{:.1}", wait_x(*wait), share_y(*share)))
            .collect();
        let _ = writeln!(
            body,
            "<polyline points=\"{}\" class=\"line l{}\"><title>{}</title></polyline>",
            points.join(" "),
            place % COLOURS,
            escape(&column.name)
        );
    }
    let (keys, bottom) = legend(&report.columns, BOTTOM + 44.0);
    svg(bottom, "how long builds waited", &(body + &keys))
}

/// Machines over time, one small chart per column, all on one scale.
pub(super) fn machines(report: &Report) -> String {
    const ROW: f64 = 74.0;
    const HEIGHT: f64 = 56.0;
    let samples = report
        .columns
        .iter()
        .flat_map(|column| &column.figures.samples);
    let most = samples
        .map(|sample| sample.busy + sample.idle)
        .max()
        .unwrap_or(0);
    let mut body = String::new();
    let mut y = 4.0;
    for column in &report.columns {
        let samples = &column.figures.samples;
        let step = (WIDTH - LEFT - RIGHT) / number(samples.len().max(1) as u64);
        let bottom = y + HEIGHT;
        let scale = HEIGHT / number(most).max(1.0);
        for (class, height) in [
            ("idle", (|s: &Sample| s.busy + s.idle) as fn(&Sample) -> u64),
            ("work", |s: &Sample| s.busy),
        ] {
            let mut path = format!("M{LEFT:.1},{bottom:.1}");
            let mut x = LEFT;
            for sample in samples {
                let top = bottom - number(height(sample)) * scale;
                let _ = write!(path, "L{x:.1},{top:.1}L{:.1},{top:.1}", x + step);
                x += step;
            }
            let _ = writeln!(
                body,
                "<path d=\"{path}L{x:.1},{bottom:.1}Z\" class=\"{class}\"/>"
            );
        }
        body.push_str(&text(LEFT - 8.0, bottom - 4.0, "name", &column.name));
        let most = format!("most {}", column.figures.most_at_once);
        body.push_str(&text(WIDTH - RIGHT + 6.0, bottom - 4.0, "value", &most));
        y += ROW;
    }
    svg(y, "machines over time", &body)
}

/// Cost against the wait that 95 of a hundred builds stay below: left and low is good.
pub(super) fn frontier(report: &Report) -> String {
    const TOP: f64 = 10.0;
    const BOTTOM: f64 = 270.0;
    let costs = report
        .columns
        .iter()
        .map(|column| column.figures.cost.total);
    let most = amount(costs.max().unwrap_or(0)).max(1.0) * 1.05;
    let y = |cost: i64| BOTTOM - amount(cost) / most * (BOTTOM - TOP);
    let mut body = wait_axis(TOP, BOTTOM);
    let floor = y(report.optimum.total);
    let _ = writeln!(
        body,
        "<line x1=\"{LEFT}\" y1=\"{floor:.1}\" x2=\"{:.1}\" y2=\"{floor:.1}\" class=\"floor\"/>",
        WIDTH - RIGHT
    );
    let words = format!("clairvoyant {}", dollars(report.optimum.total));
    body.push_str(&text(LEFT - 8.0, floor + 4.0, "name", &words));
    for (place, column) in report.columns.iter().enumerate() {
        let (x, y) = (
            wait_x(column.figures.waits.p95),
            y(column.figures.cost.total),
        );
        let title = format!(
            "{}: {}, p95 wait {}",
            column.name,
            dollars(column.figures.cost.total),
            length(column.figures.waits.p95)
        );
        let _ = writeln!(
            body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" class=\"c{}\"><title>{}</title></circle>",
            place % COLOURS,
            escape(&title)
        );
        body.push_str(&text(x + 10.0, y + 4.0, "key", &column.name));
    }
    let (keys, bottom) = legend(&report.columns, BOTTOM + 44.0);
    svg(bottom, "cost and wait", &(body + &keys))
}
