//! What the API needs of the logs.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::model::{AttemptId, Timestamp};

/// A run of log bytes that came home together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBytes {
    /// Offset of the first byte in the attempt's log.
    pub offset: u64,
    /// The bytes; never none.
    pub bytes: Bytes,
    /// When they came home.
    pub at: Timestamp,
}

/// A log that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the log of {attempt} at offset {offset}")]
pub struct LogSourceError {
    /// Whose log.
    pub attempt: AttemptId,
    /// Where.
    pub offset: u64,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Where the bytes of logs come from.
///
/// # Contract
/// - An attempt that nobody has heard of has an empty log.
/// - Bytes at an offset never change, and a log never gets shorter.
/// - `follow` delivers every byte from `from` on, in order, without gap or repetition; stored bytes
///   first, then bytes as they come. With `until` it ends there; the caller gives it once the log is
///   known to be complete. Without, it may end at any time (a lagging reader, a restart): the caller
///   follows again from where it got to.
#[async_trait]
pub trait LogSource: Send + Sync + std::fmt::Debug {
    /// Bytes of this attempt's log that can be read now.
    async fn length(&self, attempt: AttemptId) -> Result<u64, LogSourceError>;

    /// The bytes in `range`, which lies within `length`, in pieces of the source's choice.
    async fn read(
        &self,
        attempt: AttemptId,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, LogSourceError>>, LogSourceError>;

    /// The bytes from `from` on, as they come.
    async fn follow(
        &self,
        attempt: AttemptId,
        from: u64,
        until: Option<u64>,
    ) -> Result<BoxStream<'static, Result<LogBytes, LogSourceError>>, LogSourceError>;
}
