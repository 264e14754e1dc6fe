//! Why a command did not do what was asked: made anywhere in `cli`, printed once, at the edge.

use std::io::{self, Write as _};

use serde_json::json;

use super::exit::Exit;
use crate::api::view::DocumentProblem;

/// A command's end without the result that was asked for.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is to be told.
    Report(Box<Report>),
    /// The reader of standard output went away: nobody is left to be told.
    ReaderGone,
}

/// What a command returns: how it ended, or why it stopped.
pub(super) type Outcome<T = Exit> = Result<T, Stop>;

/// Something that went wrong, for a person and for a program.
#[derive(Debug)]
pub(super) struct Report {
    /// What the process exits with.
    pub(super) exit: Exit,
    /// Names the kind of error; never changes.
    pub(super) kind: String,
    /// What went wrong, with its causes.
    pub(super) message: String,
    /// The next thing to try.
    pub(super) hint: Option<String>,
    /// Places in documents.
    pub(super) problems: Vec<DocumentProblem>,
}

impl Report {
    /// A report without hint and problems.
    pub(super) fn new(exit: Exit, kind: &str, message: impl Into<String>) -> Self {
        Self {
            exit,
            kind: kind.to_owned(),
            message: message.into(),
            hint: None,
            problems: Vec::new(),
        }
    }

    /// With the next thing to try.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// For people: the error, every problem, the hint.
    pub(super) fn text(&self, color: bool) -> String {
        let paint = |code: &str, word: &str| {
            if color {
                format!("\x1b[{code}m{word}\x1b[0m")
            } else {
                word.to_owned()
            }
        };
        let mut text = format!("{} {}\n", paint("1;31", "error:"), self.message);
        for problem in &self.problems {
            text.push_str("  ");
            text.push_str(&place(problem));
            text.push_str(&problem.message);
            text.push('\n');
        }
        let hint = self.hint.as_ref();
        let hint = hint.map(|hint| format!("{} {hint}\n", paint("1;36", "hint:")));
        text + &hint.unwrap_or_default()
    }

    /// For programs: one line.
    pub(super) fn json(&self) -> String {
        let error = json!({
            "error": {
                "kind": self.kind,
                "exit_code": self.exit.code(),
                "message": self.message,
                "hint": self.hint,
                "problems": self.problems,
            }
        });
        format!("{error}\n")
    }

    /// Writes it to standard error. Nothing can be done when that fails.
    pub(super) fn print(&self, as_json: bool, color: bool) {
        let text = if as_json {
            self.json()
        } else {
            self.text(color)
        };
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// `images/alpine.yaml:3:7: capabilities.python: `
fn place(problem: &DocumentProblem) -> String {
    let file = problem.file.as_deref().unwrap_or_default();
    let mut text = match (file, problem.line) {
        ("", 0) => String::new(),
        (file, 0) => format!("{file}: "),
        ("", line) => format!("{line}:{}: ", problem.column),
        (file, line) => format!("{file}:{line}:{}: ", problem.column),
    };
    if !problem.path.is_empty() {
        text.push_str(&problem.path);
        text.push_str(": ");
    }
    text
}

impl From<Report> for Stop {
    fn from(report: Report) -> Self {
        Self::Report(Box::new(report))
    }
}

/// Stops with bad usage.
pub(super) fn usage(message: impl Into<String>) -> Report {
    Report::new(Exit::Usage, "usage", message)
}

/// Stops because a file cannot be used.
pub(super) fn file_error(doing: &str, path: &std::path::Path, error: &io::Error) -> Report {
    let message = format!("cannot {doing} {}: {error}", path.display());
    Report::new(Exit::Usage, "file", message)
}

/// An error with its causes, outermost first. A cause that its parent's text repeats is left out.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let part = cause.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new(Exit::Usage, "invalid", "2 problems in the documents")
            .hint("fix them and apply again");
        report.problems = vec![
            DocumentProblem {
                file: Some("images/a.yaml".to_owned()),
                line: 3,
                column: 7,
                path: "shapes[0].price".to_owned(),
                message: "\"free\" is not a price".to_owned(),
            },
            DocumentProblem {
                file: None,
                line: 0,
                column: 0,
                path: String::new(),
                message: "no shape".to_owned(),
            },
        ];
        report
    }

    #[test]
    fn people_get_places_and_a_hint() {
        insta::assert_snapshot!(report().text(false));
        assert!(report().text(true).starts_with("\x1b[1;31merror:\x1b[0m "));
    }

    #[test]
    fn programs_get_one_line_of_json() {
        insta::assert_snapshot!(report().json());
    }
}
