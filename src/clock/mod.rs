//! Port: the time, timers, and fresh identities. The one place that reads the wall clock.

use std::sync::Mutex;

use async_trait::async_trait;
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};

use crate::model::{Span, Timestamp};

mod stepped;

pub use stepped::SteppedClock;

/// Reads the time and waits. Engine code takes its `now` from here and passes it down.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns when `span` has passed.
    async fn sleep(&self, span: Span);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }

    async fn sleep(&self, span: Span) {
        tokio::time::sleep(span.to_std()).await;
    }
}

/// Makes identities and key seeds from a seeded generator.
#[derive(Debug)]
pub struct IdSource {
    rng: Mutex<ChaCha20Rng>,
}

impl IdSource {
    /// Seeded by the operating system: for production.
    pub fn from_os() -> Self {
        Self {
            rng: Mutex::new(rand::make_rng()),
        }
    }

    /// Seeded by a number: for simulation and tests.
    pub fn from_seed(seed: u64) -> Self {
        Self {
            rng: Mutex::new(ChaCha20Rng::seed_from_u64(seed)),
        }
    }

    /// The bits of a fresh ULID: 48 bits of milliseconds, then 80 random bits.
    pub fn bits(&self, now: Timestamp) -> u128 {
        let millis = u64::try_from(now.micros() / 1_000).unwrap_or(0);
        let mut random = [0_u8; 16];
        self.fill(&mut random);
        ulid::Ulid::from_parts(millis, u128::from_le_bytes(random)).0
    }

    /// Fills `buffer` with random bytes, for keys and tokens.
    pub fn fill(&self, buffer: &mut [u8]) {
        let mut rng = self
            .rng
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        rng.fill_bytes(buffer);
    }
}
