//! What follows when a machine does not come up: its build gets another try, its image a pause, its
//! instance an end, and a person the last lines of its console. Callers: `bring_up`, `sweep`.

use std::sync::Arc;

use crate::books::boot_failed;
use crate::model::MachineId;
use crate::provider::Instance;

use super::bring_up::NotUp;
use super::engine::Engine;

impl Engine {
    /// The instance of a machine on its way up has ended.
    pub(super) async fn boot_ended(self: &Arc<Self>, id: MachineId, instance: &Instance) {
        let error = NotUp::Ended(Box::new(instance.clone()));
        self.boot_failed(id, &error).await;
    }

    /// The instance of a machine on its way up is no longer there.
    pub(super) async fn boot_gone(self: &Arc<Self>, id: MachineId) {
        self.boot_failed(id, &NotUp::Gone).await;
    }

    /// Ends a machine that did not come up; its build gets another try, its image a pause.
    pub(super) async fn boot_failed(self: &Arc<Self>, id: MachineId, error: &NotUp) {
        let why = error.to_string();
        tracing::warn!(machine.id = %id, error = why, "machine did not come up");
        let console = self.console(id).await;
        let budget = self.parts.settings.failure_budget;
        let written = self
            .write_durably(|draft| boot_failed(draft, id, &why, console, budget))
            .await;
        if written.is_ok() {
            self.nudge();
            self.end_machine_now(id);
        }
    }

    /// The last lines that a machine wrote to its console, for whoever wonders why it did not boot.
    async fn console(&self, id: MachineId) -> Option<String> {
        /// More is for the provider's own tools.
        const LINES: usize = 20;
        let (provider, instance) = {
            let books = self.books();
            let machine = books.machines.get(&id)?;
            (machine.provider.clone(), machine.state.instance()?.clone())
        };
        let provider = self.provider(&provider)?.clone();
        let said = match provider.console(&instance).await {
            Ok(said) => said?,
            Err(error) => {
                tracing::info!(machine.id = %id, %error, "no console output");
                return None;
            }
        };
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..)?;
        (!last.is_empty()).then(|| format!("the machine's console ends with:\n{}", last.join("\n")))
    }
}
