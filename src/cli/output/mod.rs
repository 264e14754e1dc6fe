//! Everything that reaches standard output: tables for people, JSON for programs, raw bytes.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

use super::report::{Outcome, Report, Stop};
use crate::cli::exit::Exit;
use crate::model::Timestamp;

mod board;
mod fields;
pub(super) mod table;
pub(super) mod words;

pub(super) use board::{Board, Row};
pub(super) use fields::Fields;
pub(super) use table::{Fit, Paper, Table, Tone, column, numbers};

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Tables and sentences for people.
    Table,
    /// JSON for programs: one value, an array for a list, a line per item for a stream.
    Json,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Nowhere.
    Never,
}

impl ColorChoice {
    /// Whether to use colours on a stream.
    pub(super) const fn resolve(self, is_terminal: bool, no_color: bool) -> bool {
        match self {
            Self::Auto => is_terminal && !no_color,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Standard output, and how to write there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// Tables or JSON.
    pub(super) format: Format,
    /// Width and colours of tables.
    pub(super) paper: Paper,
    /// Whether standard error takes colours.
    pub(super) error_color: bool,
    /// The time that relative times count from.
    pub(super) now: Timestamp,
}

impl Output {
    /// For this process's standard output.
    pub(super) fn of_this_process(
        format: Format,
        color: ColorChoice,
        no_color: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            format,
            paper: Paper {
                width: terminal_width(),
                color: color.resolve(io::stdout().is_terminal(), no_color),
            },
            error_color: color.resolve(io::stderr().is_terminal(), no_color),
            now,
        }
    }

    /// Whether answers are JSON.
    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Writes one answer: `value` as JSON, or the text that `draw` makes of it.
    pub(super) fn answer<T: Serialize>(
        self,
        value: &T,
        draw: impl FnOnce(&T) -> String,
    ) -> Outcome<()> {
        match self.format {
            Format::Json => self.json_pretty(value),
            Format::Table => self.text(&draw(value)),
        }
    }

    /// Writes a list: a JSON array, or a table. Says on standard error when there is nothing, so
    /// that an empty list is not taken for a broken one.
    pub(super) fn list<T: Serialize>(
        self,
        items: &[T],
        what: &str,
        draw: impl FnOnce(&[T]) -> Table,
    ) -> Outcome<()> {
        match self.format {
            Format::Json => self.json_pretty(&items),
            Format::Table => {
                let table = draw(items);
                if table.is_empty() {
                    self.note(&format!("no {what}"));
                }
                self.text(&table.draw(self.paper))
            }
        }
    }

    /// Writes one item of a stream as a line of JSON.
    pub(super) fn json_line<T: Serialize>(self, item: &T) -> Outcome<()> {
        let mut line = serde_json::to_vec(item).map_err(|error| unprintable(&error))?;
        line.push(b'\n');
        self.bytes(&line)
    }

    fn json_pretty<T: Serialize>(self, value: &T) -> Outcome<()> {
        let mut text = serde_json::to_vec_pretty(value).map_err(|error| unprintable(&error))?;
        text.push(b'\n');
        self.bytes(&text)
    }

    /// Writes text for people.
    pub(super) fn text(self, text: &str) -> Outcome<()> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes as they are, and makes sure that the reader has them.
    #[expect(
        clippy::unused_self,
        reason = "writing goes through the output, as a rule"
    )]
    pub(super) fn bytes(self, bytes: &[u8]) -> Outcome<()> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(|error| write_error(&error))
    }

    /// Tells a person something beside the answer, on standard error; programs are left alone.
    pub(super) fn note(self, text: &str) {
        if self.format == Format::Table {
            // Nobody to tell when even that fails.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Colours a text for standard output.
    pub(super) fn paint(self, text: &str, tone: Tone) -> String {
        paint(text, tone, self.paper.color)
    }
}

/// Colours a text.
pub(super) fn paint(text: &str, tone: Tone, color: bool) -> String {
    match tone.ansi() {
        Some(code) if color => format!("\x1b[{code}m{text}\x1b[0m"),
        Some(_) | None => text.to_owned(),
    }
}

/// The width of the terminal that standard output is, if it is one.
fn terminal_width() -> Option<u16> {
    io::stdout()
        .is_terminal()
        .then(|| comfy_table::Table::new().width())
        .flatten()
        .filter(|width| *width > 0)
}

/// A reader that went away ends the command quietly, as in `dormouse builds | head -1`.
fn write_error(error: &io::Error) -> Stop {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Stop::ReaderGone;
    }
    Report::new(
        Exit::Failure,
        "output",
        format!("cannot write to standard output: {error}"),
    )
    .into()
}

fn unprintable(error: &serde_json::Error) -> Stop {
    Report::new(
        Exit::Failure,
        "output",
        format!("cannot write the answer as JSON: {error}"),
    )
    .into()
}
