//! The index of extents, as this room sees it. The app glues the store to it.

use async_trait::async_trait;

use crate::model::{AttemptId, Extent};

/// Whatever the index failed with.
pub type IndexError = Box<dyn std::error::Error + Send + Sync>;

/// How far an attempt's log is stored, and whether more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The attempt is not over: more may come.
    Open {
        /// Bytes that are stored and indexed.
        stored: u64,
    },
    /// The attempt is over: this is all.
    Over {
        /// Bytes that are stored and indexed.
        stored: u64,
    },
}

impl Standing {
    /// Bytes that are stored and indexed.
    pub const fn stored(self) -> u64 {
        match self {
            Self::Open { stored } | Self::Over { stored } => stored,
        }
    }
}

/// Says where stored log bytes lie.
///
/// # Contract
/// - An answer reflects every extent that was committed before the question was asked.
/// - The extents of an attempt cover `[0, stored)` without gap or overlap.
#[async_trait]
pub trait ExtentIndex: Send + Sync + std::fmt::Debug {
    /// How the attempt's log stands; `None` when there is no such attempt.
    async fn standing(&self, attempt: AttemptId) -> Result<Option<Standing>, IndexError>;

    /// The extents that overlap `[from, to)`, ascending.
    async fn extents(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Extent>, IndexError>;
}
