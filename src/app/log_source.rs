//! The API's view of the log room.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::api::{LogBytes, LogSource, LogSourceError};
use crate::engine::StoreIndex;
use crate::logs::{Chunk, LogError, Logs};
use crate::model::AttemptId;
use crate::store::Store;

/// Log bytes of the room, located through the store.
#[derive(Debug, Clone)]
pub(super) struct RoomSource {
    logs: Logs,
    index: Arc<StoreIndex>,
}

impl RoomSource {
    pub(super) fn new(logs: Logs, store: Arc<dyn Store>) -> Self {
        Self {
            logs,
            index: Arc::new(StoreIndex::new(store)),
        }
    }
}

fn error(attempt: AttemptId, offset: u64) -> impl Fn(LogError) -> LogSourceError + Clone {
    move |error| LogSourceError {
        attempt,
        offset,
        source: Box::new(error),
    }
}

fn piece(chunk: Chunk) -> LogBytes {
    LogBytes {
        offset: chunk.offset,
        bytes: chunk.bytes,
        at: chunk.at,
    }
}

#[async_trait]
impl LogSource for RoomSource {
    async fn length(&self, attempt: AttemptId) -> Result<u64, LogSourceError> {
        self.logs
            .length(attempt, self.index.as_ref())
            .await
            .map_err(error(attempt, 0))
    }

    async fn read(
        &self,
        attempt: AttemptId,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, LogSourceError>>, LogSourceError> {
        let bytes = self
            .logs
            .read(attempt, self.index.clone(), range.start, range.end);
        Ok(bytes.map_err(error(attempt, range.start)).boxed())
    }

    async fn follow(
        &self,
        attempt: AttemptId,
        from: u64,
        until: Option<u64>,
    ) -> Result<BoxStream<'static, Result<LogBytes, LogSourceError>>, LogSourceError> {
        let error = error(attempt, from);
        Ok(if let Some(until) = until {
            let chunks = self.logs.chunks(attempt, self.index.clone(), from, until);
            chunks.map_ok(piece).map_err(error).boxed()
        } else {
            let chunks = self.logs.follow(attempt, self.index.clone(), from);
            chunks.map_ok(piece).map_err(error).boxed()
        })
    }
}
