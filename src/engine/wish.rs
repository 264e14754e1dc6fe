//! Takes wishes to end things: builds, pipelines, machines.

use std::sync::Arc;

use crate::books::{Ending, cancel, end_idle};
use crate::model::{Build, BuildId, Machine, MachineId, PipelineId};

use super::desk::DeskError;
use super::engine::Engine;
use super::intake::{desk_error, not_found};

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
        let written = self.write_durably(|draft| end_idle(draft, id, who)).await;
        let machine = match written.map_err(desk_error)? {
            Ending::Begun(machine) => *machine,
            Ending::HasBuild(why) => return Err(DeskError::Refused(why)),
            Ending::Unknown => return Err(not_found("machine", id)),
        };
        self.end_machine_now(id);
        Ok(machine)
    }
}
