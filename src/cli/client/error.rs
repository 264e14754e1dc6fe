//! A call that failed, and what that means for the caller.

use reqwest::StatusCode;

use crate::api::view::ProblemDetails;
use crate::cli::exit::Exit;
use crate::cli::report::{Report, Stop};

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No answer came, or it was cut off.
    #[error("cannot reach the server at {server}: {detail}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What happened.
        detail: String,
    },
    /// The server answered with an error.
    #[error("{}", problem_text(.problem))]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        problem: Box<ProblemDetails>,
    },
    /// The answer is not one that this version understands.
    #[error("the answer of {server} cannot be understood: {detail}")]
    Garbled {
        /// Its address.
        server: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl CallError {
    /// Whether the same call may work later without anybody doing anything: the server restarts,
    /// or is busy.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ]
            .contains(status),
            Self::Garbled { .. } => false,
        }
    }

    /// Whether the server said that it does not have that much. To a reader who goes on where he was
    /// before a crash of the server, this passes: what the server had shown but not stored yet comes
    /// home from the machine again.
    pub(crate) fn is_too_far(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::RANGE_NOT_SATISFIABLE)
    }

    /// Whether the server said that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

/// What the server said; its title when it gave no detail.
fn problem_text(problem: &ProblemDetails) -> &str {
    if problem.detail.is_empty() {
        &problem.title
    } else {
        &problem.detail
    }
}

impl From<CallError> for Report {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Unreachable { .. } => Self::new(Exit::Unavailable, "unreachable", message)
                .hint("start a server with `dormouse serve`, or name another with --server URL"),
            CallError::Refused { status, problem } => refused(status, *problem, message),
            CallError::Garbled { .. } => Self::new(Exit::Unavailable, "garbled", message).hint(
                "is this a dormouse server of the same version? compare `dormouse --version`",
            ),
        }
    }
}

fn refused(status: StatusCode, problem: ProblemDetails, message: String) -> Report {
    let exit = match status {
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Exit::Usage,
        _ if status.is_server_error() => Exit::Unavailable,
        _ => Exit::Refused,
    };
    let kind = problem
        .kind
        .rsplit(':')
        .next()
        .filter(|word| !word.is_empty())
        .map_or_else(|| status.as_u16().to_string(), str::to_owned);
    // Problems tell themselves what to do; else what we know of this program comes first.
    let theirs = problem.hint.filter(|_| problem.problems.is_empty());
    let hint = own_hint(status).map(str::to_owned).or(theirs);
    Report {
        hint,
        problems: problem.problems,
        ..Report::new(exit, &kind, message)
    }
}

/// What the server cannot know: how this program is told.
fn own_hint(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED => Some(
            "put a token into $DORMOUSE_TOKEN or ~/.config/dormouse/token; \
             an admin makes one with `dormouse token create`",
        ),
        StatusCode::FORBIDDEN => Some("use a token with a higher role: `dormouse token create`"),
        _ => None,
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        Report::from(error).into()
    }
}
