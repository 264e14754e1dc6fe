//! What an exit code says. The one table: the help, the man pages and the code all read it.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::api::view::ResultWord;

/// How a command ended, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exit {
    /// Done; a followed pipeline or build succeeded.
    Success,
    /// What was asked for has failed.
    Failure,
    /// The command line, a file or the configuration is wrong.
    Usage,
    /// The server cannot be reached, or broke.
    Unavailable,
    /// The server refused.
    Refused,
    /// Machines failed.
    InfraFailure,
    /// Somebody canceled it.
    Canceled,
    /// It ran out of time.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
}

/// Every exit, its code and its meaning.
const TABLE: [(Exit, u8, &str); 9] = [
    (
        Exit::Success,
        0,
        "done; a followed pipeline or build succeeded",
    ),
    (
        Exit::Failure,
        1,
        "a build failed, ran out of budget, or was skipped after one that did; an image is not as claimed",
    ),
    (
        Exit::Usage,
        2,
        "wrong command line, document, file or configuration",
    ),
    (
        Exit::Unavailable,
        3,
        "the server cannot be reached, is not ready, or broke",
    ),
    (
        Exit::Refused,
        4,
        "the server refused: no such thing, not allowed, or not now",
    ),
    (
        Exit::InfraFailure,
        5,
        "machines failed under a build until its attempts were used up",
    ),
    (Exit::Canceled, 6, "a build was canceled"),
    (Exit::TimedOut, 7, "a build ran out of time"),
    (
        Exit::Interrupted,
        130,
        "interrupted by Ctrl-C; what was submitted goes on",
    ),
];

impl Exit {
    /// The code of the process.
    pub(super) fn code(self) -> u8 {
        TABLE
            .iter()
            .find(|(exit, ..)| *exit == self)
            .map_or(u8::MAX, |(_, code, _)| *code)
    }

    /// What following a build or pipeline to this end exits with.
    pub(super) const fn of_result(result: ResultWord) -> Self {
        match result {
            ResultWord::Success => Self::Success,
            ResultWord::Failure | ResultWord::Skipped | ResultWord::OverBudget => Self::Failure,
            ResultWord::InfraFailure => Self::InfraFailure,
            ResultWord::Canceled => Self::Canceled,
            ResultWord::TimedOut => Self::TimedOut,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table as text, a line per code.
pub(super) fn table() -> String {
    let mut text = String::from("Exit codes:\n");
    for (_, code, meaning) in TABLE {
        let _ = writeln!(text, "  {code:>3}  {meaning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_its_own_code() {
        use Exit::{
            Canceled, Failure, InfraFailure, Interrupted, Refused, Success, TimedOut, Unavailable,
            Usage,
        };
        let codes = [
            Success,
            Failure,
            Usage,
            Unavailable,
            Refused,
            InfraFailure,
            Canceled,
            TimedOut,
            Interrupted,
        ]
        .map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 130]);
    }
}
