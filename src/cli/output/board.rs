//! Progress on standard error: lines that change in place on a terminal, else a line per change.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};

use super::{Format, Output, Tone, paint, words};
use crate::model::BuildId;

/// Lines kept free: for the prompt, and for what is written above.
const FREE_LINES: usize = 2;

/// A terminal that does not tell its size is taken for one of this size.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Widest name column; longer names are cut.
const NAME_WIDTH: usize = 40;

/// What a line needs beside the name: state, time and cost with their gaps.
const OTHER_WIDTH: usize = 13 + 1 + 1 + 8 + 1 + 9;

/// One build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Which.
    pub(crate) id: BuildId,
    /// Its state or result.
    pub(crate) word: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// How long it runs or ran.
    pub(crate) elapsed: String,
    /// What it cost so far; empty when unknown.
    pub(crate) cost: String,
    /// Its machine, or why it ended so.
    pub(crate) note: String,
    /// Whether it has its result.
    pub(crate) is_over: bool,
}

/// Where progress is shown.
#[derive(Debug)]
pub(crate) struct Board {
    style: Style,
    color: bool,
    drawn: usize,
    told: BTreeMap<BuildId, &'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Lines that change in place.
    Live,
    /// A line per change, for logs of other systems.
    Plain,
    /// Nothing: a program reads standard output.
    Silent,
}

impl Board {
    /// On this process's standard error.
    pub(crate) fn of_this_process(output: Output) -> Self {
        let style = match output.format {
            Format::Json => Style::Silent,
            Format::Table if io::stderr().is_terminal() => Style::Live,
            Format::Table => Style::Plain,
        };
        Self {
            style,
            color: output.error_color,
            drawn: 0,
            told: BTreeMap::new(),
        }
    }

    /// Shows how the builds stand. A terminal that went away is no reason to stop.
    pub(crate) fn show(&mut self, rows: &[Row]) {
        let text = match self.style {
            Style::Live => self.live(rows, terminal_size()),
            Style::Plain => self.changes(rows),
            Style::Silent => return,
        };
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Moves up over what was drawn and draws it anew.
    fn live(&mut self, rows: &[Row], (width, height): (usize, usize)) -> String {
        let mut sorted: Vec<&Row> = rows.iter().collect();
        sorted.sort_by_key(|row| interest(row));
        let room = height.saturating_sub(FREE_LINES).max(1);
        let shown = if sorted.len() > room {
            room - 1
        } else {
            sorted.len()
        };
        let mut text = match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        text.push_str("\x1b[J");
        let rows = sorted.iter().take(shown);
        text.extend(rows.map(|row| line(row, width, self.color)));
        let hidden = sorted.get(shown..).unwrap_or_default();
        if !hidden.is_empty() {
            text.push_str("… and ");
            text.push_str(&words::count(hidden.len() as u64, "more build"));
            text.push('\n');
        }
        self.drawn = shown + usize::from(!hidden.is_empty());
        text
    }

    /// A line for each build whose word changed.
    fn changes(&mut self, rows: &[Row]) -> String {
        let mut text = String::new();
        for row in rows {
            if self.told.insert(row.id, row.word) != Some(row.word) {
                text.push_str(&line(row, usize::MAX, self.color));
            }
        }
        text
    }
}

/// What a person wants to see when there is no room for all: what runs, what failed, what waits,
/// what is done.
fn interest(row: &Row) -> (u8, BuildId) {
    let rank = match (row.word, Tone::of_word(row.word)) {
        ("running", _) => 0,
        ("bound", _) => 1,
        (_, Tone::Bad) => 2,
        _ if row.is_over => 4,
        _ => 3,
    };
    (rank, row.id)
}

/// `running        test (3.12, sqlite)        12s  $0.0042  on vm_…`
fn line(row: &Row, width: usize, color: bool) -> String {
    let room = width.saturating_sub(OTHER_WIDTH).clamp(8, NAME_WIDTH);
    let name = cut(&words::printable(&row.name), room);
    let state = format!("{:<13}", row.word);
    let rest = format!(
        " {name:<room$} {:>8} {:>9}  {}",
        row.elapsed, row.cost, row.note
    );
    let left = width.saturating_sub(state.chars().count());
    let state = paint(&state, Tone::of_word(row.word), color);
    format!("{state}{}\n", cut(rest.trim_end(), left))
}

/// The text, or as much of it as fits with a mark that something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Columns and lines of the terminal.
fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    match size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row))) {
        Ok((width, height)) if width > 0 && height > 0 => (width, height),
        Ok(_) | Err(_) => USUAL_SIZE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u128, word: &'static str, is_over: bool) -> Row {
        Row {
            id: BuildId::from_bits(number),
            word,
            name: format!("test ({number})"),
            elapsed: "12s".to_owned(),
            cost: "$0.0042".to_owned(),
            note: "on vm_1".to_owned(),
            is_over,
        }
    }

    fn board(style: Style) -> Board {
        Board {
            style,
            color: false,
            drawn: 0,
            told: BTreeMap::new(),
        }
    }

    #[test]
    fn where_there_is_no_terminal_each_change_is_one_line() {
        let mut board = board(Style::Plain);
        let first = board.changes(&[row(1, "queued", false), row(2, "queued", false)]);
        let second = board.changes(&[row(1, "running", false), row(2, "queued", false)]);
        let third = board.changes(&[row(1, "running", false), row(2, "queued", false)]);
        assert_eq!(third, "");
        insta::assert_snapshot!(first + &second);
    }

    #[test]
    fn a_terminal_shows_what_matters_most_within_its_size() {
        let mut board = board(Style::Live);
        let rows = [
            row(1, "success", true),
            row(2, "queued", false),
            row(3, "failure", true),
            row(4, "running", false),
        ];
        let text = board.live(&rows, (60, 5));
        assert_eq!(board.drawn, 3);
        assert!(
            text.lines().all(|line| line.chars().count() <= 60 + 3),
            "{text}"
        );
        insta::assert_snapshot!(text.replace('\u{1b}', "ESC"));
        assert!(board.live(&rows, (60, 30)).starts_with("\u{1b}[3A\u{1b}[J"));
        assert_eq!(board.drawn, 4);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
