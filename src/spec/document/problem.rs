//! What is wrong in a document, and where.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Something wrong in a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// Where in the document: `builds.test.steps[2].run`.
    pub path: String,
    /// What is wrong, and what would be accepted.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `12:5: builds.test.steps[2].run: …`, for a file name to be put in front.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// A place in a document: line and column (in characters), both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// Where a document begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// Most problems that are told at once: a screenful or two. A document with more is not the one
/// that was meant.
const MOST_PROBLEMS: usize = 100;

/// Problems found so far, in document order, each once.
#[derive(Debug, Default)]
pub struct Problems {
    found: BTreeSet<Problem>,
    untold: bool,
}

impl Problems {
    /// Takes note of a problem. The same one again (a matrix renders a text many times) is one.
    pub fn add(&mut self, place: Place, path: &str, message: impl Into<String>) {
        if self.found.len() >= MOST_PROBLEMS {
            self.untold = true;
            return;
        }
        self.found.insert(Problem {
            line: place.line,
            column: place.column,
            path: path.to_owned(),
            message: message.into(),
        });
    }

    /// How many were found.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems, in document order; the last one says when there are more.
    pub fn into_vec(self) -> Vec<Problem> {
        let mut found: Vec<_> = self.found.into_iter().collect();
        if let (true, Some(last)) = (self.untold, found.last()) {
            found.push(Problem {
                line: last.line,
                column: last.column,
                path: String::new(),
                message: format!("more than {MOST_PROBLEMS} problems; the others are not shown"),
            });
        }
        found
    }

    /// `value` if nothing was found and there is one.
    ///
    /// # Errors
    /// The problems, in document order.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            Some(_) => Err(self.into_vec()),
            None => {
                if self.is_empty() {
                    // A reader that gives up without a word is a bug; say something all the same.
                    self.add(Place::START, "", "the document cannot be read");
                }
                Err(self.into_vec())
            }
        }
    }
}
