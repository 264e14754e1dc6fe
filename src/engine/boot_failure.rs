//! What follows when a machine does not come up: its build gets another try, its image a pause, its
//! instance an end, and a person the last lines of its console. Callers: `bring_up`, `sweep`.

use std::sync::Arc;

use crate::ledger;
use crate::model::{
    Category, EventKind, IllegalTransition, MachineId, MachineState, Outcome, Reason, Subject,
};
use crate::provider::Instance;

use super::bring_up::{NotUp, is_coming};
use super::draft::Draft;
use super::engine::Engine;
use super::outcome::{MachineAfter, end_attempt};

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
            .write_durably(|draft| {
                let Some(machine) = draft.books.machines.get(&id) else {
                    return Ok(());
                };
                // What is billed already was for what it did before it slept.
                let cost = ledger::cost_at(machine, draft.now) - machine.billed;
                let (image, state) = (machine.image.clone(), machine.state.clone());
                if !is_coming(&state) {
                    return Ok(());
                }
                if let Some(console) = console {
                    let build = state.claim().map(|(build, _)| Subject::Build(build));
                    for subject in build.into_iter().chain([Subject::Machine(id)]) {
                        draft.event(subject, EventKind::MachineNote, console.clone());
                    }
                }
                give_up(draft, id, &state, &why)?;
                let failure = (draft.now, cost);
                if let Some(note) = draft.books.launch_failed(&image, failure, budget) {
                    draft.event(Subject::Image(image), EventKind::ImageNote, note);
                }
                Ok(())
            })
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

/// Ends the attempt that waits for a machine that does not come up, and begins its end.
fn give_up(
    draft: &mut Draft<'_>,
    id: MachineId,
    state: &MachineState,
    why: &str,
) -> Result<(), IllegalTransition> {
    let reason = Reason::BootFailed(why.to_owned());
    if let Some((_, attempt)) = state.claim() {
        let outcome = Outcome::Infrastructure(why.to_owned());
        return end_attempt(draft, attempt, &outcome, why, MachineAfter::Drain(reason));
    }
    if is_coming(state) {
        let instance = state.instance().cloned();
        let message = reason.sentence();
        let next = MachineState::Draining { instance, reason };
        draft.enter_machine(id, next, Some((Category::Boot, None)))?;
        draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
    }
    Ok(())
}
