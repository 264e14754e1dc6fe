//! What surrounds every request: one layer, so that the hot path pays for one.
//!
//! It keeps other sites away from open servers, bounds the time, turns a panic into an answer, writes
//! errors as `application/problem+json`, logs internal errors once, sets the headers that make
//! browsers careful, and counts.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::auth::{AuthMode, LoopbackOnly};
use super::error::ApiError;
use super::limits::REQUEST_TIMEOUT;
use super::origin;
use super::state::ApiState;
use super::view::ProblemDetails;

/// The media type of errors (RFC 9457).
pub(super) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The layer.
pub(super) async fn frame(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = request.uri().path().to_owned();
    let method = method_word(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let span = tracing::debug_span!("request.answer", http.method = method, http.route = route);

    let mut response = answer(&state, request, next).instrument(span).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = explain(&state, &error, &path, response);
    }
    be_careful(&mut response);
    count(route, method, &response, started);
    response
}

/// Runs the handler within its bounds.
async fn answer(state: &ApiState, request: Request, next: Next) -> Response {
    let welcome = match state.auth {
        AuthMode::Tokens => Ok(()),
        AuthMode::Open(LoopbackOnly { .. }) => origin::check(request.headers(), request.uri()),
    };
    if let Err(error) = welcome {
        return error.into_response();
    }
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    match timeout(REQUEST_TIMEOUT, run).await {
        Ok(Ok(response)) => response,
        // The panic hook has printed the message and the place.
        Ok(Err(_panic)) => ApiError::Panic.into_response(),
        Err(_elapsed) => ApiError::Timeout.into_response(),
    }
}

/// Writes the error into the response.
fn explain(state: &ApiState, error: &ApiError, path: &str, mut response: Response) -> Response {
    let body = serde_json::to_vec(&told(state, error, path)).unwrap_or_default();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, PROBLEM_JSON);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
    response
}

/// The error as the client is told; an internal one is logged here, with the id that the client gets.
pub(super) fn told(state: &ApiState, error: &ApiError, path: &str) -> ProblemDetails {
    if !error.is_internal() {
        return error.details(path.to_owned());
    }
    let id = state.error_id();
    tracing::error!(error.id = %id, error = %Chain(error), http.path = %path, "a request failed");
    error.details(format!("urn:dormouse:error:{id}"))
}

/// An error with all of its causes, in one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Headers for browsers, unless the handler has set its own.
const CAREFUL: [(HeaderName, HeaderValue); 6] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

fn be_careful(response: &mut Response) {
    for (name, value) in CAREFUL {
        response.headers_mut().entry(name).or_insert(value);
    }
}

/// A method as a label: the set is bounded whatever clients send.
fn method_word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn count(route: &str, method: &'static str, response: &Response, started: Instant) {
    metrics::counter!(
        "dormouse_http_requests_total",
        "route" => route.to_owned(),
        "method" => method,
        "status" => response.status().as_u16().to_string(),
    )
    .increment(1);
    metrics::histogram!("dormouse_http_request_seconds", "route" => route.to_owned())
        .record(started.elapsed());
}
