//! What went wrong with a request, and how that is told to the client: RFC 9457.
//!
//! A handler returns an [`ApiError`]. Its response carries the error as an extension; `frame` adds
//! the request's path, writes the body, and logs internal errors once. The text of a foreign error
//! never reaches a client.

use std::error::Error;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::source::LogSourceError;
use super::view::{DocumentProblem, ProblemDetails, RoleWord};
use crate::engine::{ApplyError, DeskError};
use crate::store::StoreError;

/// What went wrong with a request.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ApiError {
    /// No token came with it.
    #[error("this needs a token")]
    NoToken,
    /// A token came that is not known: malformed, never made, or revoked; which one is not told.
    #[error("the token is not accepted")]
    BadToken,
    /// The token may not do this.
    #[error("this needs the role {}, and the token {name:?} has {}", needed.word(), held.word())]
    Forbidden {
        /// The least role that may.
        needed: RoleWord,
        /// The role that the token has.
        held: RoleWord,
        /// The token's name.
        name: String,
    },
    /// An open server was called by a name that is not this machine's own, or by another site.
    #[error("{0}")]
    Foreign(String),
    /// There is no such route.
    #[error("there is nothing at this path")]
    NoRoute,
    /// The route does not know the method.
    #[error("this path does not take that method")]
    Method,
    /// There is nothing of this id or name.
    #[error("no {what} {id}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// As it was asked for.
        id: String,
    },
    /// The request cannot be understood.
    #[error("{detail}")]
    Malformed {
        /// What is wrong with it.
        detail: String,
        /// The next thing to try.
        hint: Option<&'static str>,
        /// Places in its body, where they are known.
        problems: Vec<DocumentProblem>,
    },
    /// The body is of a kind that the route does not take.
    #[error("a body of type {0:?} is not understood here")]
    MediaType(String),
    /// The body is too large.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The document was read, and has problems.
    #[error("the document has {} problem(s)", .0.len())]
    Invalid(Vec<DocumentProblem>),
    /// The `Idempotency-Key` was used with another document.
    #[error("{0}")]
    KeyReused(String),
    /// It cannot be done in the present state.
    #[error("{0}")]
    Conflict(String),
    /// A limit is reached; later it may work.
    #[error("{0}")]
    Busy(String),
    /// The range lies outside of what there is.
    #[error("the range lies outside of the {0} bytes that there are")]
    Range(u64),
    /// It took too long.
    #[error("the answer took too long")]
    Timeout,
    /// Something of ours failed.
    #[error("{operation}")]
    Internal {
        /// What we were doing.
        operation: &'static str,
        /// Why it failed; for the log only.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A handler panicked.
    #[error("handling the request")]
    Panic,
}

/// The fixed part of how a kind of error is told.
struct Kind {
    status: StatusCode,
    word: &'static str,
    title: &'static str,
    hint: Option<&'static str>,
}

impl Kind {
    const fn new(status: StatusCode, word: &'static str, title: &'static str) -> Self {
        Self {
            status,
            word,
            title,
            hint: None,
        }
    }

    const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

const UNAUTHORIZED: Kind = Kind::new(StatusCode::UNAUTHORIZED, "unauthorized", "Token needed")
    .hint("send `Authorization: Bearer dm_…` with a token that an admin made");
const FORBIDDEN: Kind = Kind::new(StatusCode::FORBIDDEN, "forbidden", "Role not sufficient")
    .hint("ask an admin for a token with that role");
const FOREIGN: Kind = Kind::new(StatusCode::FORBIDDEN, "foreign", "Foreign request").hint(
    "this server asks for no tokens and serves only this machine: call it as localhost or \
     127.0.0.1, and not from another site's page",
);
const NO_ROUTE: Kind = Kind::new(StatusCode::NOT_FOUND, "no-route", "No such path")
    .hint("GET /api/v1/openapi.json lists all paths; /api/docs/ shows them");
const METHOD: Kind = Kind::new(
    StatusCode::METHOD_NOT_ALLOWED,
    "method",
    "Method not allowed",
)
.hint("the `Allow` header names the methods of this path");
const NOT_FOUND: Kind = Kind::new(StatusCode::NOT_FOUND, "not-found", "Not found");
const MALFORMED: Kind = Kind::new(StatusCode::BAD_REQUEST, "malformed", "Malformed request");
const MEDIA_TYPE: Kind = Kind::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "media-type",
    "Unsupported media type",
)
.hint("say what it is: `Content-Type: application/yaml` or `application/json`");
const TOO_LARGE: Kind = Kind::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large")
    .hint("send it in parts");
const INVALID: Kind = Kind::new(
    StatusCode::UNPROCESSABLE_ENTITY,
    "invalid",
    "Invalid document",
)
.hint("each entry of `problems` names its place and what would be accepted");
const KEY_REUSED: Kind = Kind::new(
    StatusCode::CONFLICT,
    "key-reused",
    "Idempotency-Key used before",
)
.hint("take a fresh key for a changed document");
const CONFLICT: Kind = Kind::new(
    StatusCode::CONFLICT,
    "conflict",
    "Not possible in the present state",
);
const BUSY: Kind = Kind::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Limit reached")
    .hint("try again in a moment");
const RANGE: Kind = Kind::new(
    StatusCode::RANGE_NOT_SATISFIABLE,
    "range",
    "Range not satisfiable",
);
const TIMEOUT: Kind =
    Kind::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "Took too long").hint("ask for less");
const INTERNAL: Kind = Kind::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "Internal error",
)
.hint("the server's log has the cause under the id in `instance`");

impl ApiError {
    /// A request that cannot be understood, with the next thing to try.
    pub(super) fn malformed(detail: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self::Malformed {
            detail: detail.into(),
            hint,
            problems: Vec::new(),
        }
    }

    /// Something of ours failed while we were at `operation`.
    pub(super) fn internal(
        operation: &'static str,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::Internal {
            operation,
            source: Arc::new(source),
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::NoToken | Self::BadToken => UNAUTHORIZED,
            Self::Forbidden { .. } => FORBIDDEN,
            Self::Foreign(_) => FOREIGN,
            Self::NoRoute => NO_ROUTE,
            Self::Method => METHOD,
            Self::NotFound { .. } => NOT_FOUND,
            Self::Malformed { .. } => MALFORMED,
            Self::MediaType(_) => MEDIA_TYPE,
            Self::TooLarge(_) => TOO_LARGE,
            Self::Invalid(_) => INVALID,
            Self::KeyReused(_) => KEY_REUSED,
            Self::Conflict(_) => CONFLICT,
            Self::Busy(_) => BUSY,
            Self::Range(_) => RANGE,
            Self::Timeout => TIMEOUT,
            Self::Internal { .. } | Self::Panic => INTERNAL,
        }
    }

    /// What is wrong, for the client.
    fn detail(&self) -> String {
        if self.is_internal() {
            "the server failed while it handled this request".to_owned()
        } else {
            self.to_string()
        }
    }

    /// The whole error for the client; `instance` names the request or the occurrence.
    pub(super) fn details(&self, instance: String) -> ProblemDetails {
        let kind = self.kind();
        let mut details = ProblemDetails {
            kind: format!("urn:dormouse:problem:{}", kind.word),
            title: kind.title.to_owned(),
            status: kind.status.as_u16(),
            detail: self.detail(),
            instance,
            hint: kind.hint.map(str::to_owned),
            problems: Vec::new(),
            needed_role: None,
        };
        if let Self::Malformed { hint, problems, .. } = self {
            details.hint = hint.map(str::to_owned);
            details.problems.clone_from(problems);
        }
        if let Self::Invalid(problems) = self {
            details.problems.clone_from(problems);
        }
        if let Self::Forbidden { needed, .. } = self {
            details.needed_role = Some(*needed);
        }
        details
    }

    /// Whether a person who runs the server has to know.
    pub(super) const fn is_internal(&self) -> bool {
        matches!(self, Self::Internal { .. } | Self::Panic)
    }

    /// The header that goes with it.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let fixed = |name, value| Some((name, HeaderValue::from_static(value)));
        match self {
            Self::NoToken => fixed(header::WWW_AUTHENTICATE, "Bearer realm=\"dormouse\""),
            Self::BadToken => fixed(
                header::WWW_AUTHENTICATE,
                "Bearer realm=\"dormouse\", error=\"invalid_token\"",
            ),
            Self::Busy(_) => fixed(header::RETRY_AFTER, "1"),
            Self::Range(length) => HeaderValue::try_from(format!("bytes */{length}"))
                .ok()
                .map(|value| (header::CONTENT_RANGE, value)),
            Self::Forbidden { .. }
            | Self::Foreign(_)
            | Self::NoRoute
            | Self::Method
            | Self::NotFound { .. }
            | Self::Malformed { .. }
            | Self::MediaType(_)
            | Self::TooLarge(_)
            | Self::Invalid(_)
            | Self::KeyReused(_)
            | Self::Conflict(_)
            | Self::Timeout
            | Self::Internal { .. }
            | Self::Panic => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.kind().status.into_response();
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal("asking the store", error)
    }
}

impl From<LogSourceError> for ApiError {
    fn from(error: LogSourceError) -> Self {
        Self::internal("asking for a log", error)
    }
}

impl From<DeskError> for ApiError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Invalid(problems) => Self::Invalid(
                problems
                    .into_iter()
                    .map(|problem| DocumentProblem::new(None, problem))
                    .collect(),
            ),
            DeskError::NotFound { what, id } => Self::NotFound { what, id },
            DeskError::Conflict(why) => Self::KeyReused(why),
            DeskError::Refused(why) => Self::Conflict(why),
            DeskError::Busy(why) => Self::Busy(why),
            DeskError::Store(error) => Self::internal("doing what was asked", error),
        }
    }
}

impl ApiError {
    /// Why declarations were not applied; `files` are their names, in order.
    pub(super) fn from_apply(error: ApplyError, files: &[String]) -> Self {
        match error {
            ApplyError::Invalid(problems) => Self::Invalid(
                problems
                    .into_iter()
                    .map(|(index, problem)| {
                        DocumentProblem::new(files.get(index).cloned(), problem)
                    })
                    .collect(),
            ),
            ApplyError::Busy => Self::Busy(error.to_string()),
            ApplyError::Store(error) => Self::internal("applying declarations", error),
        }
    }
}
