//! What the event streams share: their number, their end, and when they look again.

use std::convert::Infallible;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::ApiError;
use super::limits::{MAX_STREAM_AGE, MAX_STREAMS, STREAM_KEEP_ALIVE, STREAM_PACE, STREAM_POLL};
use super::state::ApiState;

/// Where events come from, one after the other.
pub(super) trait Source: Send + 'static {
    /// The next event; none when nothing follows. After an error it is not asked again.
    fn next(&mut self) -> impl Future<Output = Result<Option<Event>, ApiError>> + Send;
}

/// Tells proxies of the nginx family not to hold events back.
const NO_BUFFERING: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

/// Answers with the events of `source`, until it ends, the server stops, or the stream is too old.
///
/// # Errors
/// [`ApiError::Busy`] when too many streams are open.
pub(super) fn open(state: &ApiState, source: impl Source) -> Result<Response, ApiError> {
    let place = std::sync::Arc::clone(state.streams())
        .try_acquire_owned()
        .map_err(|_| ApiError::Busy(format!("all {MAX_STREAMS} event streams are in use")))?;
    let shutdown = state.shutdown.clone();
    let end = async move {
        shutdown.run_until_cancelled(sleep(MAX_STREAM_AGE)).await;
    };
    let gauge = OpenStream::count();
    let events = events(state.clone(), source)
        .take_until(end)
        // The place and the count are given back when the client, or the server, drops the stream.
        .map(move |event| {
            let _held = (&place, &gauge);
            Ok::<_, Infallible>(event)
        });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(STREAM_KEEP_ALIVE));
    Ok(([NO_BUFFERING], sse).into_response())
}

/// Counts itself among the open streams for as long as it lives.
struct OpenStream;

impl OpenStream {
    fn count() -> Self {
        metrics::gauge!("dormouse_http_streams").increment(1);
        Self
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        metrics::gauge!("dormouse_http_streams").decrement(1);
    }
}

/// The events of a source. An error becomes one last event, `problem`.
fn events(state: ApiState, source: impl Source) -> impl Stream<Item = Event> {
    stream::unfold(Some(source), move |source| {
        let state = state.clone();
        async move {
            let mut source = source?;
            match source.next().await {
                Ok(Some(event)) => Some((event, Some(source))),
                Ok(None) => None,
                Err(error) => Some((problem(&state, &error), None)),
            }
        }
    })
}

fn problem(state: &ApiState, error: &ApiError) -> Event {
    let details = super::frame::told(state, error, "an open stream");
    json_event("problem", &details).unwrap_or_default()
}

/// An event with a JSON value as its data.
pub(super) fn json_event<T: serde::Serialize>(name: &str, data: &T) -> Result<Event, ApiError> {
    Event::default()
        .event(name)
        .json_data(data)
        .map_err(|error| ApiError::internal("writing an event", error))
}

/// Says when it is worth asking the store again: soon after a nudge, and now and then without one.
#[derive(Debug)]
pub(super) struct Pulse {
    newest: watch::Receiver<u64>,
    nudged: bool,
    last: Instant,
}

impl Pulse {
    pub(super) fn new(state: &ApiState) -> Self {
        let mut newest = state.newest_event.clone();
        // What came before is read at the first look anyway.
        newest.mark_unchanged();
        Self {
            newest,
            nudged: false,
            last: Instant::now(),
        }
    }

    /// Waits until it is worth asking. May be dropped and called again without losing a nudge.
    pub(super) async fn beat(&mut self) {
        if !self.nudged {
            let poll = sleep_until(self.last + STREAM_POLL);
            tokio::select! {
                () = changed(&mut self.newest) => self.nudged = true,
                () = poll => {}
            }
        }
        if self.nudged {
            sleep_until(self.last + STREAM_PACE).await;
        }
        self.nudged = false;
        self.last = Instant::now();
    }
}

/// Waits for a nudge; for ever when nobody is left to give one.
async fn changed(newest: &mut watch::Receiver<u64>) {
    if newest.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
