//! Takes wishes to end things: builds, pipelines, machines.

use std::sync::Arc;

use crate::model::{
    AttemptId, Build, BuildId, BuildResult, BuildState, Cancel, Category, EventKind,
    IllegalTransition, Machine, MachineId, MachineState, Outcome, PipelineId, Reason, Subject,
};

use super::desk::DeskError;
use super::draft::Draft;
use super::engine::Engine;
use super::intake::{desk_error, not_found};
use super::outcome::{MachineAfter, end_attempt, finish_build};

impl Engine {
    /// Asks for the end of a build; one without a running attempt ends at once.
    pub(super) async fn ask_cancel(&self, id: BuildId, who: &str) -> Result<Build, DeskError> {
        self.check_open()?;
        let reason = format!("canceled by {who}");
        let mut wake = None;
        self.write_durably(|draft| {
            wake = cancel(draft, id, &reason)?;
            Ok(())
        })
        .await
        .map_err(desk_error)?;
        if let Some(attempt) = wake {
            self.wake_driver(attempt);
        }
        self.nudge();
        self.build_now(id).await
    }

    /// Asks for the end of every unfinished build of a pipeline.
    pub(super) async fn ask_cancel_all(&self, id: PipelineId, who: &str) -> Result<u32, DeskError> {
        self.check_open()?;
        if self.parts.store.pipeline(id).await?.is_none() {
            return Err(not_found("pipeline", id));
        }
        let reason = format!("pipeline canceled by {who}");
        let mut wake = Vec::new();
        let asked = self
            .write_durably(|draft| {
                let of_it = |build: &&Build| build.spec.pipeline == id && build.cancel.is_none();
                // Last first: a build is canceled before one that it needs could skip it.
                let builds: Vec<BuildId> = draft
                    .books
                    .builds
                    .values()
                    .filter(of_it)
                    .map(|build| build.id)
                    .rev()
                    .collect();
                for build in &builds {
                    wake.extend(cancel(draft, *build, &reason)?);
                }
                Ok(builds.len())
            })
            .await
            .map_err(desk_error)?;
        for attempt in wake {
            self.wake_driver(attempt);
        }
        self.nudge();
        Ok(u32::try_from(asked).unwrap_or(u32::MAX))
    }

    async fn build_now(&self, id: BuildId) -> Result<Build, DeskError> {
        let open = self.books().builds.get(&id).cloned();
        match open {
            Some(build) => Ok(build),
            None => self
                .parts
                .store
                .build(id)
                .await?
                .ok_or_else(|| not_found("build", id)),
        }
    }

    /// Asks for the end of a machine that has no build.
    pub(super) async fn ask_end(
        self: &Arc<Self>,
        id: MachineId,
        who: &str,
    ) -> Result<Machine, DeskError> {
        self.check_open()?;
        let outcome = self.write_durably(|draft| end_idle(draft, id, who)).await;
        let machine = outcome.map_err(desk_error)??;
        self.end_machine_now(id);
        Ok(machine)
    }
}

/// Records the wish, and ends the build if nothing runs for it yet; else the attempt whose driver
/// has to stop it.
fn cancel(
    draft: &mut Draft<'_>,
    id: BuildId,
    reason: &str,
) -> Result<Option<AttemptId>, IllegalTransition> {
    let Some(build) = draft.books.builds.get(&id) else {
        return Ok(None);
    };
    if build.cancel.is_some() {
        return Ok(None);
    }
    let state = build.state.clone();
    let wish = Cancel {
        at: draft.now,
        reason: reason.to_owned(),
        result: BuildResult::Canceled,
    };
    draft.change_build(id, |build| build.ask_cancel(wish));
    draft.event(
        Subject::Build(id),
        EventKind::BuildCancelAsked,
        reason.to_owned(),
    );
    match state {
        BuildState::Waiting | BuildState::Queued { .. } => {
            finish_build(draft, id, BuildResult::Canceled, reason)?;
            Ok(None)
        }
        BuildState::Bound {
            machine, attempt, ..
        } if is_coming(draft, machine) => {
            // The machine stays on its way up: the planner gives it another build, or ends it.
            end_attempt(
                draft,
                attempt,
                &Outcome::Canceled,
                reason,
                MachineAfter::Idle,
            )?;
            Ok(None)
        }
        BuildState::Bound { attempt, .. } | BuildState::Running { attempt, .. } => {
            Ok(Some(attempt))
        }
        BuildState::Finished { .. } => Ok(None),
    }
}

fn is_coming(draft: &Draft<'_>, id: MachineId) -> bool {
    draft.books.machines.get(&id).is_some_and(|machine| {
        matches!(
            machine.state,
            MachineState::Intended { .. }
                | MachineState::Booting { .. }
                | MachineState::Waking { .. }
        )
    })
}

fn end_idle(
    draft: &mut Draft<'_>,
    id: MachineId,
    who: &str,
) -> Result<Result<Machine, DeskError>, IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(Err(not_found("machine", id)));
    };
    let (instance, category) = match &machine.state {
        MachineState::Idle { instance, .. }
        | MachineState::FallingAsleep { instance, .. }
        | MachineState::Asleep { instance } => (Some(instance.clone()), Category::Idle),
        MachineState::Booting {
            instance,
            claim: None,
        }
        | MachineState::Waking {
            instance,
            claim: None,
        } => (Some(instance.clone()), Category::Boot),
        MachineState::Intended { claim: None } => (None, Category::Boot),
        MachineState::Draining { .. } => return Ok(Ok(machine.clone())),
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Waking { .. }
        | MachineState::Busy { .. }
        | MachineState::Gone { .. } => {
            let build = machine.state.claim().map(|(build, _)| build.to_string());
            let build = build.unwrap_or_default();
            return Ok(Err(DeskError::Refused(format!(
                "{id} has a build ({build}); cancel that first"
            ))));
        }
    };
    let reason = Reason::Requested(who.to_owned());
    let message = reason.sentence();
    draft.enter_machine(
        id,
        MachineState::Draining { instance, reason },
        Some((category, None)),
    )?;
    draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
    Ok(draft
        .books
        .machines
        .get(&id)
        .cloned()
        .ok_or_else(|| not_found("machine", id)))
}
