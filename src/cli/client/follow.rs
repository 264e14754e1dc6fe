//! Following an event stream across dropped connections and server restarts.

use std::fmt;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::error::CallError;
use super::patience::Patience;
use super::sse::{Event, Parser, SseError};
use super::{Client, Query};
use crate::cli::output::Output;

/// An event stream that connects again where it was dropped: each connection after the first tells
/// the server the id of the last event that came (`Last-Event-ID`).
#[derive(Debug)]
pub(crate) struct Follow<'a> {
    client: &'a Client,
    path: Vec<String>,
    query: Query,
    last_id: Option<String>,
    patience: Patience,
    open: Option<Open>,
}

/// One connection.
struct Open {
    body: BoxStream<'static, Result<Bytes, CallError>>,
    parser: Parser,
    ready: std::vec::IntoIter<Event>,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

impl<'a> Follow<'a> {
    /// The event stream at a path; nothing is sent before the first `next`.
    pub(crate) fn new(client: &'a Client, path: &[&str], query: Query, output: Output) -> Self {
        Self {
            client,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query,
            last_id: None,
            patience: Patience::new(output),
            open: None,
        }
    }

    /// The next event. The stream has no end of its own: the caller knows the last event, or goes on
    /// for ever.
    ///
    /// # Errors
    /// When the server refuses, or stays away for too long.
    pub(crate) async fn next(&mut self) -> Result<Event, CallError> {
        loop {
            let error = match self.next_once().await {
                Ok(Some(event)) => {
                    self.patience.renew();
                    self.last_id.clone_from(&event.id);
                    return Ok(event);
                }
                // The server ends streams when it stops and when they are old.
                Ok(None) => self.client.cut("the event stream ended"),
                Err(error) => error,
            };
            self.open = None;
            if self.last_id.is_some() && error.is_too_far() {
                self.patience.wait_anyway(error).await?;
            } else {
                self.patience.wait(error).await?;
            }
        }
    }

    /// The next event of the present connection; `None` at its end.
    async fn next_once(&mut self) -> Result<Option<Event>, CallError> {
        if self.open.is_none() {
            self.open = Some(Open {
                body: self.connect().await?,
                parser: Parser::default(),
                ready: Vec::new().into_iter(),
            });
        }
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        loop {
            if let Some(event) = open.ready.next() {
                return Ok(Some(event));
            }
            let Some(bytes) = open.body.next().await else {
                return Ok(None);
            };
            let events = open.parser.push(&bytes?);
            let garbled = |error: SseError| self.client.garbled(&error.to_string());
            open.ready = events.map_err(garbled)?.into_iter();
        }
    }

    async fn connect(&self) -> Result<BoxStream<'static, Result<Bytes, CallError>>, CallError> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let mut request = self
            .client
            .request(reqwest::Method::GET, &path)
            .query(&self.query)
            .header(reqwest::header::ACCEPT, "text/event-stream");
        if let Some(id) = &self.last_id {
            request = request.header("Last-Event-ID", id);
        }
        self.client.stream(request).await
    }
}
