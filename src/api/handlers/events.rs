//! Events: in pages, and as they come.

use std::collections::VecDeque;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use serde::Deserialize;

use crate::api::error::ApiError;
use crate::api::extract::{Params, parse, rows};
use crate::api::limits::{DEFAULT_PAGE_ROWS, MAX_PAGE_ROWS};
use crate::api::state::ApiState;
use crate::api::stream::{self, Pulse, json_event};
use crate::api::view::{EventPage, EventView, SubjectParseError, parse_subject};
use crate::model::Subject;

/// Which events to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct EventQuery {
    /// Only those behind this number; 0, the default, begins with the first.
    after: Option<u64>,
    /// Only about this: the id of a pipeline, build or machine, `image:NAME` or `policy:NAME`.
    subject: Option<String>,
    /// Events of the page, 1 to 200; 50 if not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// List events
///
/// Oldest first. Pass `next` of the answer as `after` to go on, now or later.
#[utoipa::path(
    get, path = "/events", tag = "events", params(EventQuery),
    responses((status = 200, description = "A page of events", body = EventPage))
)]
pub(in crate::api) async fn list_events(
    State(state): State<ApiState>,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventPage>, ApiError> {
    let subject = subject(query.subject.as_deref())?;
    let limit = rows(query.limit, DEFAULT_PAGE_ROWS, MAX_PAGE_ROWS)?;
    let after = query.after.unwrap_or(0);
    let events = state.store.events(subject.as_ref(), after, limit).await?;
    let last = state.store.last_event().await?;
    let next = events.last().map_or(after, |(number, _)| *number);
    Ok(Json(EventPage {
        items: events
            .into_iter()
            .map(|(number, event)| EventView::new(number, event))
            .collect(),
        next,
        last,
    }))
}

fn subject(text: Option<&str>) -> Result<Option<Subject>, ApiError> {
    text.map(|text| {
        parse_subject(text)
            .ok_or_else(|| ApiError::malformed(SubjectParseError::new(text).to_string(), None))
    })
    .transpose()
}

/// Where an event stream begins.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct EventStreamQuery {
    /// Only those behind this number; if not given, only those that come from now on.
    after: Option<u64>,
    /// Only about this: the id of a pipeline, build or machine, `image:NAME` or `policy:NAME`.
    subject: Option<String>,
}

/// Follow events
///
/// Server-sent events. `event` events carry an `EventView`; their id is the event's number, and
/// `Last-Event-ID` resumes behind it. A comment comes every 15 s.
#[utoipa::path(
    get, path = "/events/stream", tag = "events",
    params(
        EventStreamQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last event that was received"),
    ),
    responses((status = 200, description = "`event` events (`EventView`)", body = String, content_type = "text/event-stream"))
)]
pub(in crate::api) async fn stream_events(
    State(state): State<ApiState>,
    Params(query): Params<EventStreamQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let subject = subject(query.subject.as_deref())?;
    let resumed = match headers.get("last-event-id") {
        Some(value) => Some(parse(value.to_str().unwrap_or(""))?),
        None => None,
    };
    let pulse = Pulse::new(&state);
    let after = match resumed.or(query.after) {
        Some(after) => after,
        None => state.store.last_event().await?,
    };
    let feed = Feed {
        state: state.clone(),
        subject,
        after,
        ready: VecDeque::new(),
        pulse,
    };
    stream::open(&state, feed)
}

/// One client's way along the events.
struct Feed {
    state: ApiState,
    subject: Option<Subject>,
    /// Number of the last event that was read.
    after: u64,
    ready: VecDeque<(u64, crate::model::Event)>,
    pulse: Pulse,
}

impl stream::Source for Feed {
    async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some((number, event)) = self.ready.pop_front() {
                let view = EventView::new(number, event);
                return Ok(Some(json_event("event", &view)?.id(number.to_string())));
            }
            if self.read().await? == 0 {
                self.pulse.beat().await;
            }
        }
    }
}

impl Feed {
    /// Reads the events that came; how many.
    async fn read(&mut self) -> Result<usize, ApiError> {
        let events = self
            .state
            .store
            .events(self.subject.as_ref(), self.after, MAX_PAGE_ROWS)
            .await?;
        if let Some((number, _)) = events.last() {
            self.after = *number;
        }
        self.ready.extend(events);
        Ok(self.ready.len())
    }
}
