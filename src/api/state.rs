//! What the handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::auth::{AuthMode, TokenCache};
use super::limits::MAX_STREAMS;
use super::source::LogSource;
use crate::clock::Clock;
use crate::engine::Desk;
use crate::store::Store;

/// The parts that the API translates between; the composition root fills it in.
#[derive(Debug, Clone)]
pub struct ApiParts {
    /// Takes the wishes.
    pub desk: Arc<dyn Desk>,
    /// Answers the questions; the API only reads.
    pub store: Arc<dyn Store>,
    /// Has the bytes of logs.
    pub logs: Arc<dyn LogSource>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Who may come in.
    pub auth: AuthMode,
    /// The number of the newest event: a hint that there is something to read. Losing values, or
    /// its sender going away, costs latency only.
    pub newest_event: watch::Receiver<u64>,
    /// Renders what the process recorded through the `metrics` crate; without, `/metrics` shows only
    /// what is derived from the store.
    pub recorded: Option<PrometheusHandle>,
    /// Ends open streams. The same token that is given to `serve`, or a parent of it.
    pub shutdown: CancellationToken,
}

/// What the handlers share: the parts, and the API's own little state.
#[derive(Debug, Clone)]
pub struct ApiState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: ApiParts,
    tokens: TokenCache,
    streams: Arc<Semaphore>,
    errors: AtomicU64,
}

impl ApiState {
    /// The state of one server.
    pub fn new(parts: ApiParts) -> Self {
        Self(Arc::new(Shared {
            parts,
            tokens: TokenCache::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            errors: AtomicU64::new(0),
        }))
    }

    /// A text that ties an answer to a line of the server's log.
    pub(super) fn error_id(&self) -> String {
        let count = self.0.errors.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{count:x}", self.0.parts.clock.now().micros())
    }
}

impl std::ops::Deref for ApiState {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0.parts
    }
}

impl ApiState {
    /// Tokens that were seen lately.
    pub(super) fn tokens(&self) -> &TokenCache {
        &self.0.tokens
    }

    /// Places for open streams.
    pub(super) fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }
}
