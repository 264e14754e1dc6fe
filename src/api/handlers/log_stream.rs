//! The log of a build as it comes, over server-sent events.
//!
//! The id of an event is the byte offset behind its chunk, so that a client which connects again
//! with `Last-Event-ID` gets what follows. A build that is tried again goes on in the same stream:
//! from the second attempt on, ids carry the attempt, as in `2:4096`, unless the URL names one.

use std::collections::VecDeque;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::Deserialize;

use super::builds::find;
use super::logs::pick;
use crate::api::error::ApiError;
use crate::api::extract::{Id, Params};
use crate::api::limits::MAX_LOG_EVENT_BYTES;
use crate::api::source::{LogBytes, LogSourceError};
use crate::api::state::ApiState;
use crate::api::stream::{self, Pulse, json_event};
use crate::api::view::{BuildSummary, LogChunk, LogEnd};
use crate::model::{Attempt, AttemptId, AttemptState, BuildId, Timestamp};

/// Where a log stream begins.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct LogStreamQuery {
    /// Only this attempt, from 1; else the last one and those that follow.
    #[param(minimum = 1)]
    attempt: Option<u32>,
    /// Skip this many bytes of the first log.
    offset: Option<u64>,
}

/// Follow a log
///
/// Server-sent events. `log` events carry a `LogChunk`; their id is the byte offset behind the chunk
/// (with the attempt before it from the second one on, as in `2:4096`), and `Last-Event-ID` resumes
/// there. One `end` event carries a `LogEnd` and closes the stream. A comment comes every 15 s.
#[utoipa::path(
    get, path = "/builds/{id}/log/stream", tag = "logs",
    params(
        ("id" = String, Path, description = "Build id"),
        LogStreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that was received"),
    ),
    responses((status = 200, description = "`log` events (`LogChunk`), then `end` (`LogEnd`)", body = String, content_type = "text/event-stream"))
)]
pub(in crate::api) async fn stream_log(
    State(state): State<ApiState>,
    Id(id): Id<BuildId>,
    Params(query): Params<LogStreamQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    find(&state, id).await?;
    let attempts = state.store.attempts(id).await?;
    let resumed = resume_point(&headers)?;
    let number = query
        .attempt
        .or(resumed.as_ref().and_then(|(attempt, _)| *attempt));
    let offset = resumed.map_or(query.offset.unwrap_or(0), |(_, offset)| offset);
    let mut tail = Tail::new(state.clone(), id, query.attempt.is_some());
    if let Some(attempt) = pick(&attempts, number)? {
        let length = state.logs.length(attempt.id).await?;
        if offset > length {
            return Err(ApiError::Range(length));
        }
        tail.turn_to(attempt, offset);
    }
    stream::open(&state, tail)
}

/// The attempt and offset in `Last-Event-ID`. Without an attempt it speaks of the first, or of the
/// one that the URL names.
fn resume_point(headers: &HeaderMap) -> Result<Option<(Option<u32>, u64)>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("");
    let point = match text.split_once(':') {
        Some((attempt, offset)) => attempt.parse().ok().zip(offset.parse().ok()),
        None => text.parse().ok().map(|offset| (1, offset)),
    };
    point
        .map(|(attempt, offset)| Some((Some(attempt), offset)))
        .ok_or_else(|| {
            ApiError::malformed(
                format!("{text:?} is not the id of an event of this stream"),
                Some("send the id of the last event that you received, or no Last-Event-ID"),
            )
        })
}

/// One client's way along the logs of a build.
struct Tail {
    state: ApiState,
    build: BuildId,
    /// Whether the client asked for one attempt only.
    pinned: bool,
    pulse: Pulse,
    place: Option<Place>,
    phase: Phase,
    /// Events that are ready to go.
    ready: VecDeque<Event>,
}

/// How far a stream is in which log.
struct Place {
    attempt: AttemptId,
    number: u32,
    /// Offset of the first byte that was not sent.
    offset: u64,
    /// Bytes from there on that begin a character and wait for its rest; three at most.
    held: Bytes,
    /// When they came.
    held_at: Timestamp,
}

/// What a stream is at.
enum Phase {
    /// The store must be asked how things stand.
    Look,
    /// Nothing to do before the next beat.
    Wait,
    /// The attempt may still write; bytes come from here.
    Live(BoxStream<'static, Result<LogBytes, LogSourceError>>),
    /// The attempt is over; the rest of its log comes from here.
    Drain(BoxStream<'static, Result<LogBytes, LogSourceError>>),
    /// Nothing follows what is ready.
    Over,
}

/// What there was to do in one turn.
enum Turn {
    /// Bytes came.
    Bytes(LogBytes),
    /// The source has ended.
    SourceEnded,
    /// It is time to look.
    Beat,
}

impl stream::Source for Tail {
    async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let turn = match &mut self.phase {
                Phase::Over => return Ok(None),
                Phase::Look => Turn::Beat,
                Phase::Wait => {
                    self.pulse.beat().await;
                    Turn::Beat
                }
                Phase::Live(live) => tokio::select! {
                    bytes = live.next() => Turn::of(bytes)?,
                    () = self.pulse.beat() => Turn::Beat,
                },
                Phase::Drain(rest) => Turn::of(rest.next().await)?,
            };
            match turn {
                Turn::Bytes(bytes) => self.take(&bytes)?,
                Turn::SourceEnded => self.source_ended(),
                Turn::Beat => self.look().await?,
            }
        }
    }
}

impl Turn {
    fn of(item: Option<Result<LogBytes, LogSourceError>>) -> Result<Self, ApiError> {
        Ok(match item {
            Some(bytes) => Self::Bytes(bytes?),
            None => Self::SourceEnded,
        })
    }
}

impl Tail {
    fn new(state: ApiState, build: BuildId, pinned: bool) -> Self {
        Self {
            pulse: Pulse::new(&state),
            state,
            build,
            pinned,
            place: None,
            phase: Phase::Look,
            ready: VecDeque::new(),
        }
    }

    /// Goes on with this attempt's log, from `offset`.
    fn turn_to(&mut self, attempt: &Attempt, offset: u64) {
        self.place = Some(Place {
            attempt: attempt.id,
            number: attempt.number,
            offset,
            held: Bytes::new(),
            held_at: Timestamp::default(),
        });
        self.phase = Phase::Look;
    }

    /// A live source may end at any time, and is opened again at the next beat; the rest of a
    /// finished log ends where it must, and then the store says what comes next.
    fn source_ended(&mut self) {
        self.phase = match self.phase {
            Phase::Live(_) => Phase::Wait,
            Phase::Drain(_) | Phase::Look | Phase::Wait | Phase::Over => Phase::Look,
        };
    }

    /// Asks the store how things stand, and chooses what to do.
    async fn look(&mut self) -> Result<(), ApiError> {
        let Some(place) = &self.place else {
            return self.look_for_next(0).await;
        };
        let attempt = self.state.store.attempt(place.attempt).await?;
        let stored = attempt.and_then(|attempt| match attempt.state {
            AttemptState::Finished { .. } => Some(attempt.cursor.stored),
            AttemptState::Bound | AttemptState::Running { .. } => None,
        });
        let (id, from) = (place.attempt, place.taken());
        match stored {
            Some(stored) if from >= stored => {
                let number = place.number;
                self.flush()?;
                self.look_for_next(number).await
            }
            Some(stored) => {
                let rest = self.state.logs.follow(id, from, Some(stored)).await?;
                self.phase = Phase::Drain(rest);
                Ok(())
            }
            // Still good: what it has not delivered yet is not lost by looking.
            None if matches!(self.phase, Phase::Live(_)) => Ok(()),
            None => {
                let live = self.state.logs.follow(id, from, None).await?;
                self.phase = Phase::Live(live);
                Ok(())
            }
        }
    }

    /// Goes on with the attempt behind `number`, or ends, or waits for one.
    async fn look_for_next(&mut self, number: u32) -> Result<(), ApiError> {
        // The build first: attempts that it had when it finished are then all there.
        let build = find(&self.state, self.build).await?;
        let over = build.state.is_finished() || (self.pinned && number > 0);
        let attempts = self.state.store.attempts(self.build).await?;
        let next = attempts.iter().find(|attempt| attempt.number > number);
        match next.filter(|_| !(self.pinned && number > 0)) {
            Some(attempt) => self.turn_to(attempt, 0),
            None if over => {
                self.ready.push_back(self.end(&BuildSummary::from(&build))?);
                self.phase = Phase::Over;
            }
            None => self.phase = Phase::Wait,
        }
        Ok(())
    }

    fn end(&self, build: &BuildSummary) -> Result<Event, ApiError> {
        let end = LogEnd {
            build: build.id,
            state: build.state,
            result: build.result,
            reason: build.reason.clone(),
            attempt: self.place.as_ref().map(|place| place.number),
            length: self.place.as_ref().map_or(0, |place| place.offset),
        };
        json_event("end", &end)
    }

    /// Makes events of bytes; what was taken before is skipped.
    fn take(&mut self, run: &LogBytes) -> Result<(), ApiError> {
        let Some(place) = &mut self.place else {
            return Ok(());
        };
        let skip = usize::try_from(place.taken().saturating_sub(run.offset)).unwrap_or(usize::MAX);
        if run.offset > place.taken() {
            return Err(ApiError::internal("following a log", Gap(run.offset)));
        }
        if skip >= run.bytes.len() {
            return Ok(());
        }
        let fresh = run.bytes.slice(skip..);
        let mut rest = if place.held.is_empty() {
            fresh
        } else {
            [place.held.as_ref(), fresh.as_ref()].concat().into()
        };
        place.held_at = run.at;
        loop {
            let piece = rest.split_to(piece_len(&rest));
            if piece.is_empty() {
                break;
            }
            let event = place.chunk(&piece, run.at, self.pinned)?;
            self.ready.push_back(event);
        }
        place.held = rest;
        Ok(())
    }

    /// Sends what waited for the rest of a character: it will not come.
    fn flush(&mut self) -> Result<(), ApiError> {
        if let Some(place) = &mut self.place {
            let held = std::mem::take(&mut place.held);
            if !held.is_empty() {
                let event = place.chunk(&held, place.held_at, self.pinned)?;
                self.ready.push_back(event);
            }
        }
        Ok(())
    }
}

/// The source left bytes out.
#[derive(Debug, thiserror::Error)]
#[error("the source went on at offset {0}, and left bytes out")]
struct Gap(u64);

impl Place {
    /// Offset behind the last byte that was taken from the source.
    fn taken(&self) -> u64 {
        self.offset + self.held.len() as u64
    }

    /// The event for the bytes at `offset`, which moves behind them.
    fn chunk(&mut self, bytes: &[u8], at: Timestamp, pinned: bool) -> Result<Event, ApiError> {
        let chunk = LogChunk::new(self.number, self.offset, at, bytes);
        self.offset += bytes.len() as u64;
        let id = if pinned || self.number == 1 {
            self.offset.to_string()
        } else {
            format!("{}:{}", self.number, self.offset)
        };
        Ok(json_event("log", &chunk)?.id(id))
    }
}

/// Length of the next piece to send of `bytes`: bounded, and not ending within a character. 0 when
/// there is only the beginning of one.
fn piece_len(bytes: &[u8]) -> usize {
    let bound = bytes.len().min(MAX_LOG_EVENT_BYTES);
    match std::str::from_utf8(bytes.get(..bound).unwrap_or(bytes)) {
        // The rest of the character is behind the bound, or yet to come.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // Whole text, or none at all: it goes as it is.
        Ok(_) | Err(_) => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_end_within_a_character() {
        assert_eq!(piece_len(b""), 0);
        assert_eq!(piece_len(b"abc"), 3);
        assert_eq!(piece_len("ab\u{20ac}".as_bytes()), 5);
        assert_eq!(piece_len(b"ab\xe2\x82"), 2, "half a euro sign");
        assert_eq!(piece_len(b"\xe2\x82"), 0);
        assert_eq!(piece_len(b"ab\xff\xe2\x82"), 5, "not text at all");
        let long = "\u{20ac}".repeat(MAX_LOG_EVENT_BYTES);
        let piece = piece_len(long.as_bytes());
        assert!(
            piece <= MAX_LOG_EVENT_BYTES && piece.is_multiple_of(3),
            "{piece}"
        );
    }
}
