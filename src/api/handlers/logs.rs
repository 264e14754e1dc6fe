//! The log of a build as plain bytes: whole, a step, a window, or an HTTP range.

use std::ops::Range;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use serde::Deserialize;

use super::builds::find;
use crate::api::error::ApiError;
use crate::api::extract::{Id, Params};
use crate::api::state::ApiState;
use crate::api::view::ProblemDetails;
use crate::model::{Attempt, AttemptState, Build, BuildId};

/// Which part of which log.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct LogQuery {
    /// Number of the attempt, from 1; the last one if not given.
    #[param(minimum = 1)]
    attempt: Option<u32>,
    /// Only this step: its name, or its place from 0.
    step: Option<String>,
    /// Skip this many bytes.
    offset: Option<u64>,
    /// At most this many bytes.
    limit: Option<u64>,
}

/// Offset of the answer's first byte in the attempt's log.
const LOG_OFFSET: HeaderName = HeaderName::from_static("dormouse-log-offset");
/// Length of the attempt's log so far.
const LOG_LENGTH: HeaderName = HeaderName::from_static("dormouse-log-length");
/// The attempt whose log it is; 0 when there is none yet.
const LOG_ATTEMPT: HeaderName = HeaderName::from_static("dormouse-log-attempt");
/// Whether the attempt is over, so that its log grows no more.
const LOG_COMPLETE: HeaderName = HeaderName::from_static("dormouse-log-complete");

/// Read a log
///
/// The bytes as they came. `offset` and `limit` choose a window of the log or of a step; a `Range`
/// header chooses within that. A build that has not begun has an empty log. For a log that grows,
/// follow `/log/stream`, or ask again with `offset` at the length that `Dormouse-Log-Length` told.
#[utoipa::path(
    get, path = "/builds/{id}/log", tag = "logs",
    params(
        ("id" = String, Path, description = "Build id"),
        LogQuery,
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "The bytes", body = String, content_type = "text/plain", headers(
            ("Dormouse-Log-Attempt" = u32, description = "The attempt whose log it is; 0 when there is none yet"),
            ("Dormouse-Log-Offset" = u64, description = "Offset of the first byte in the attempt's log"),
            ("Dormouse-Log-Length" = u64, description = "Length of the attempt's log so far"),
            ("Dormouse-Log-Complete" = bool, description = "Whether the log grows no more"),
        )),
        (status = 206, description = "The bytes of the range", body = String, content_type = "text/plain"),
        (status = 416, description = "The range lies behind the end", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn read_log(
    State(state): State<ApiState>,
    Id(id): Id<BuildId>,
    Params(query): Params<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let build = find(&state, id).await?;
    let attempts = state.store.attempts(id).await?;
    let Some(attempt) = pick(&attempts, query.attempt)? else {
        return Ok(log_response(&Excerpt::none(&build), Body::empty()));
    };
    let length = state.logs.length(attempt.id).await?;
    let window = narrow(step_window(&build, attempt, &query, length)?, &query);
    let excerpt = Excerpt {
        attempt: attempt.number,
        complete: matches!(attempt.state, AttemptState::Finished { .. }),
        length,
        part: choose(&headers, &window)?,
        window,
    };
    let bytes = excerpt.bytes();
    let body = if bytes.is_empty() {
        Body::empty()
    } else {
        Body::from_stream(
            state
                .logs
                .read(attempt.id, bytes)
                .await?
                .inspect_err(|error| tracing::error!(%error, "an answer broke off")),
        )
    };
    Ok(log_response(&excerpt, body))
}

/// The attempt of this number, or the last one; none when there is none yet.
pub(super) fn pick(
    attempts: &[Attempt],
    number: Option<u32>,
) -> Result<Option<&Attempt>, ApiError> {
    let Some(number) = number else {
        return Ok(attempts.last());
    };
    attempts
        .iter()
        .find(|attempt| attempt.number == number)
        .map(Some)
        .ok_or_else(|| ApiError::NotFound {
            what: "attempt",
            id: format!("{number} of this build"),
        })
}

/// The bytes of the whole log, or of the step that was asked for.
fn step_window(
    build: &Build,
    attempt: &Attempt,
    query: &LogQuery,
    length: u64,
) -> Result<Range<u64>, ApiError> {
    let Some(step) = &query.step else {
        return Ok(0..length);
    };
    let index = step_index(build, step).ok_or_else(|| ApiError::NotFound {
        what: "step",
        id: format!("{step:?} in this build"),
    })?;
    let record = attempt
        .steps
        .iter()
        .find(|record| usize::try_from(record.index) == Ok(index));
    Ok(match record {
        Some(record) => {
            record.log_start.min(length)..record.log_end.map_or(length, |end| end.min(length))
        }
        None => 0..0,
    })
}

/// A step by its name, else by its place.
fn step_index(build: &Build, step: &str) -> Option<usize> {
    let steps = &build.spec.steps;
    steps
        .iter()
        .position(|candidate| candidate.name == step)
        .or_else(|| step.parse().ok().filter(|index| *index < steps.len()))
}

/// The part of `window` that `offset` and `limit` choose.
fn narrow(window: Range<u64>, query: &LogQuery) -> Range<u64> {
    let start = window
        .start
        .saturating_add(query.offset.unwrap_or(0))
        .min(window.end);
    let end = start
        .saturating_add(query.limit.unwrap_or(u64::MAX))
        .min(window.end);
    start..end
}

/// What an answer shows of a log.
struct Excerpt {
    attempt: u32,
    complete: bool,
    /// Length of the attempt's log.
    length: u64,
    /// What the query chose of it.
    window: Range<u64>,
    /// What a `Range` header chose of the window, relative to it.
    part: Option<Range<u64>>,
}

impl Excerpt {
    /// Of a build that never had a machine.
    fn none(build: &Build) -> Self {
        Self {
            attempt: 0,
            complete: build.state.is_finished(),
            length: 0,
            window: 0..0,
            part: None,
        }
    }

    /// The bytes of the attempt's log that it shows.
    fn bytes(&self) -> Range<u64> {
        match &self.part {
            Some(part) => self.window.start + part.start..self.window.start + part.end,
            None => self.window.clone(),
        }
    }
}

fn log_response(excerpt: &Excerpt, body: Body) -> Response {
    let bytes = excerpt.bytes();
    let fields = [
        (header::CONTENT_LENGTH, (bytes.end - bytes.start).into()),
        (LOG_OFFSET, bytes.start.into()),
        (LOG_LENGTH, excerpt.length.into()),
        (LOG_ATTEMPT, excerpt.attempt.into()),
        (
            LOG_COMPLETE,
            HeaderValue::from_static(if excerpt.complete { "true" } else { "false" }),
        ),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        ),
    ];
    let mut response = (fields, body).into_response();
    if let Some(part) = &excerpt.part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let whole = excerpt.window.end - excerpt.window.start;
        let range = format!("bytes {}-{}/{whole}", part.start, part.end - 1);
        if let Ok(value) = HeaderValue::try_from(range) {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    response
}

/// What the `Range` header chooses of a window: nothing in particular, or a part that is not empty.
fn choose(headers: &HeaderMap, window: &Range<u64>) -> Result<Option<Range<u64>>, ApiError> {
    // A log has no validator, so no `If-Range` ever matches, and then the whole is the answer.
    if headers.contains_key(header::IF_RANGE) {
        return Ok(None);
    }
    let range = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(parse_range);
    let Some(range) = range else {
        return Ok(None);
    };
    let length = window.end - window.start;
    let part = match range {
        Wanted::FromTo(first, last) => first..last.saturating_add(1).min(length),
        Wanted::From(first) => first..length,
        Wanted::Last(count) => length.saturating_sub(count)..length,
    };
    if part.start < part.end {
        Ok(Some(part))
    } else {
        Err(ApiError::Range(length))
    }
}

/// A single range of a `Range` header.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// From the first to the last byte, both included.
    FromTo(u64, u64),
    /// From this byte on.
    From(u64),
    /// This many bytes at the end.
    Last(u64),
}

/// Reads `bytes=…`. None for what RFC 9110 lets a server ignore: other units, several ranges, and
/// texts that are no range.
fn parse_range(text: &str) -> Option<Wanted> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", last) => Some(Wanted::Last(number(last)?)),
        (first, "") => Some(Wanted::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Wanted::FromTo(first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_writes_them() {
        let cases = [
            ("bytes=0-99", Some(Wanted::FromTo(0, 99))),
            ("bytes=5-", Some(Wanted::From(5))),
            ("bytes=-7", Some(Wanted::Last(7))),
            (
                "bytes=0-99999999999999999999999",
                Some(Wanted::FromTo(0, u64::MAX)),
            ),
            ("bytes=9-5", None),
            ("bytes=0-1,5-9", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("lines=0-5", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse_range(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_part_lies_in_its_window_and_is_never_empty() {
        let headers = |range: &str| HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]);
        let window = 100..110;
        let cases = [
            ("bytes=0-3", Ok(Some(0..4))),
            ("bytes=8-99", Ok(Some(8..10))),
            ("bytes=-4", Ok(Some(6..10))),
            ("bytes=-40", Ok(Some(0..10))),
            ("bytes=-0", Err(())),
            ("bytes=10-", Err(())),
            ("bytes=18446744073709551615-", Err(())),
            ("bytes=nonsense", Ok(None)),
        ];
        for (range, part) in cases {
            assert_eq!(
                choose(&headers(range), &window).map_err(drop),
                part,
                "{range}"
            );
        }
        assert!(choose(&headers("bytes=0-0"), &(5..5)).is_err());
        let mut conditional = headers("bytes=0-3");
        conditional.insert(header::IF_RANGE, "\"x\"".parse().unwrap());
        assert_eq!(choose(&conditional, &window).map_err(drop), Ok(None));
    }

    #[test]
    fn windows_never_reach_beyond_what_there_is() {
        let query = |offset, limit| LogQuery {
            offset,
            limit,
            ..LogQuery::default()
        };
        assert_eq!(narrow(10..20, &query(None, None)), 10..20);
        assert_eq!(narrow(10..20, &query(Some(3), Some(4))), 13..17);
        assert_eq!(narrow(10..20, &query(Some(99), Some(4))), 20..20);
        assert_eq!(
            narrow(10..20, &query(Some(u64::MAX), Some(u64::MAX))),
            20..20
        );
    }
}
