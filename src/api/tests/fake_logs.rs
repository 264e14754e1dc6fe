//! Logs in memory: a small model of the log room, which can break off.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use crate::api::{LogBytes, LogSource, LogSourceError};
use crate::model::{AttemptId, Timestamp};

/// When every log byte of these tests came home.
pub(super) const LOGGED_AT: Timestamp = Timestamp::from_micros(1_700_000_001_000_000);

/// Logs by attempt.
#[derive(Debug, Default)]
pub(super) struct FakeLogs {
    logs: Mutex<BTreeMap<AttemptId, watch::Sender<Bytes>>>,
    /// A live follower ends after its first chunk while this is set.
    pub(super) breaks_off: AtomicBool,
    /// Every read fails while this is set.
    pub(super) broken: AtomicBool,
    /// Streams that were opened to follow.
    pub(super) followed: AtomicU64,
}

impl FakeLogs {
    /// More of an attempt's log comes home.
    pub(super) fn write(&self, attempt: AttemptId, bytes: &[u8]) {
        self.log(attempt, |log| {
            log.send_modify(|old| *old = [old.as_ref(), bytes].concat().into());
        });
    }

    /// How many streams follow an attempt's log now.
    pub(super) fn followers(&self, attempt: AttemptId) -> usize {
        self.log(attempt, watch::Sender::receiver_count)
    }

    fn log<T>(&self, attempt: AttemptId, with: impl FnOnce(&watch::Sender<Bytes>) -> T) -> T {
        with(self.logs.lock().unwrap().entry(attempt).or_default())
    }

    fn check(&self, attempt: AttemptId, offset: u64) -> Result<(), LogSourceError> {
        if self.broken.load(Ordering::Relaxed) {
            let source = "no such file: /var/lib/secret-place".into();
            return Err(LogSourceError {
                attempt,
                offset,
                source,
            });
        }
        Ok(())
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

#[async_trait]
impl LogSource for FakeLogs {
    async fn length(&self, attempt: AttemptId) -> Result<u64, LogSourceError> {
        self.check(attempt, 0)?;
        Ok(self.log(attempt, |log| log.borrow().len() as u64))
    }

    async fn read(
        &self,
        attempt: AttemptId,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, LogSourceError>>, LogSourceError> {
        self.check(attempt, range.start)?;
        let bytes = self.log(attempt, |log| log.borrow().clone());
        let bytes = bytes.slice(place(range.start)..place(range.end));
        // In pieces, as from storage.
        let pieces: Vec<_> = bytes
            .chunks(7)
            .map(|piece| Ok(bytes.slice_ref(piece)))
            .collect();
        Ok(stream::iter(pieces).boxed())
    }

    async fn follow(
        &self,
        attempt: AttemptId,
        from: u64,
        until: Option<u64>,
    ) -> Result<BoxStream<'static, Result<LogBytes, LogSourceError>>, LogSourceError> {
        self.check(attempt, from)?;
        self.followed.fetch_add(1, Ordering::Relaxed);
        let log = self.log(attempt, watch::Sender::subscribe);
        let breaks_off = self.breaks_off.load(Ordering::Relaxed) && until.is_none();
        let until = until.unwrap_or(u64::MAX);
        let bytes = stream::unfold((log, from), move |(mut log, at)| async move {
            if at >= until {
                return None;
            }
            let whole = log
                .wait_for(|bytes| bytes.len() as u64 > at)
                .await
                .ok()?
                .clone();
            let end = until.min(whole.len() as u64);
            let bytes = whole.slice(place(at)..place(end));
            let run = LogBytes {
                offset: at,
                bytes,
                at: LOGGED_AT,
            };
            Some((Ok(run), (log, end)))
        });
        Ok(bytes.take(if breaks_off { 1 } else { usize::MAX }).boxed())
    }
}
