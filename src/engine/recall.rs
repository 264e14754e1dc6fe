//! What the books know of the past beyond open work, read from the store at every start: versions of
//! images that may become current again, how versions have fared, and the names of open pipelines.

use crate::books::Books;
use crate::model::{ImageState, Machine, MachineState};
use crate::store::{Page, StoreError};

use super::engine::Engine;

/// Machines that are looked back at: for a house that launches a thousand a day that is ten days, and
/// reading them takes a fraction of a second.
const RECALLED_MACHINES: usize = 10_000;
/// Rows of one question.
const PAGE: u32 = 500;

impl Engine {
    pub(super) async fn recall(&self, books: &mut Books) -> Result<(), StoreError> {
        let names: Vec<String> = books.current_images().map(|i| i.name.clone()).collect();
        for name in names {
            if books.image(&name).is_some_and(|image| image.version > 1) {
                let mut versions = self.parts.store.images(Some(&name)).await?;
                versions.retain(|image| image.state != ImageState::Removed);
                books.know_versions(versions);
            }
        }
        for machine in self.past_machines().await? {
            books.count_gone(&machine);
        }
        for (id, builds) in books.pipelines_in_lines() {
            if let Some(pipeline) = self.parts.store.pipeline(id).await? {
                books.know_pipeline(&pipeline, builds);
            }
        }
        Ok(())
    }

    /// The machines that are gone, of the newest ones, oldest first.
    async fn past_machines(&self) -> Result<Vec<Machine>, StoreError> {
        let mut past: Vec<Machine> = Vec::new();
        let mut page = Page {
            before: None,
            limit: PAGE,
        };
        let mut read = 0;
        while read < RECALLED_MACHINES {
            let machines = self.parts.store.machines(true, page.clone()).await?;
            let Some(last) = machines.last() else { break };
            page.before = Some(last.id);
            read += machines.len();
            let is_gone = |machine: &Machine| matches!(machine.state, MachineState::Gone { .. });
            past.extend(machines.into_iter().filter(is_gone));
        }
        past.reverse();
        Ok(past)
    }
}
