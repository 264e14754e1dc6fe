//! The log room's index, as the store has it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::logs::{ExtentIndex, IndexError, Standing};
use crate::model::{AttemptId, AttemptState, Extent};
use crate::store::Store;

/// Answers the log room's questions from the store.
#[derive(Debug, Clone)]
pub struct StoreIndex {
    store: Arc<dyn Store>,
}

impl StoreIndex {
    /// An index over `store`.
    pub const fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl ExtentIndex for StoreIndex {
    async fn standing(&self, attempt: AttemptId) -> Result<Option<Standing>, IndexError> {
        let attempt = self.store.attempt(attempt).await?;
        Ok(attempt.map(|attempt| match attempt.state {
            AttemptState::Finished { .. } => Standing::Over {
                stored: attempt.cursor.stored,
            },
            AttemptState::Bound | AttemptState::Running { .. } => Standing::Open {
                stored: attempt.cursor.stored,
            },
        }))
    }

    async fn extents(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Extent>, IndexError> {
        Ok(self.store.extents(attempt, from, to).await?)
    }
}
