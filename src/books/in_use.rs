//! What counts against limits at present: launches of the last hour, builds that have a machine, and what
//! machines use up.

use crate::ledger;
use crate::model::{AtMost, Build, BuildState, Machine, MachineState, Period, Timestamp};
use crate::planner::{BoundView, LAUNCH_WINDOW, LaunchView, Meter, Part};

use super::books::Books;
use super::spend::Launched;

impl Books {
    /// Counts a launch that is being decided, or that a process before this one decided.
    pub(crate) fn count_launch(&mut self, launch: Launched) {
        let view = self.launch_view(&launch);
        self.snapshot.launches.push(view);
        self.spend.launches.push(launch);
    }

    pub(super) fn refresh_launches(&mut self, now: Timestamp) {
        let recent = |launch: &Launched| now < launch.at + LAUNCH_WINDOW;
        self.spend.launches.retain(recent);
        let launches = self.spend.launches.clone();
        let views = launches.iter().map(|launch| self.launch_view(launch));
        self.snapshot.launches = views.collect();
    }

    fn launch_view(&mut self, launch: &Launched) -> LaunchView {
        let build = launch.build.as_ref();
        LaunchView {
            at: launch.at,
            image: self.index_of(&launch.image),
            project: build.map(|spec| self.project_of(&spec.project)),
            rules: build.map(|spec| self.rules_of(spec)).unwrap_or_default(),
        }
    }

    /// Keeps the planner's view of builds with a machine in step, and the turn of their flow.
    pub(super) fn track_bound(&mut self, build: &Build) {
        let (machine, began) = match &build.state {
            BuildState::Bound { machine, .. } => {
                // It leaves the queue: its flow has had its turn.
                self.snapshot.charge(build.id);
                (*machine, None)
            }
            BuildState::Running { machine, since, .. } => (*machine, Some(*since)),
            BuildState::Waiting | BuildState::Queued { .. } | BuildState::Finished { .. } => {
                self.snapshot.bound.remove(&build.id);
                if build.state.is_finished() {
                    self.forget_part(build);
                }
                return;
            }
        };
        let view = BoundView {
            machine,
            project: self.project_of(&build.spec.project),
            pipeline: build.spec.pipeline,
            rules: self.rules_of(&build.spec),
            began,
            timeout: build.spec.timeout,
        };
        self.snapshot.bound.insert(build.id, view);
    }

    /// What a build's own amount was is of no use once it is over.
    fn forget_part(&mut self, build: &Build) {
        for view in &mut self.snapshot.budgets {
            if view.per == Period::Life {
                view.spent.remove(&Part::Build(build.id));
            }
        }
    }
}

/// What a machine uses up: at most what it may become, as long as that is not known.
pub(super) fn meter_of(machine: &Machine) -> Meter {
    let is = AtMost {
        vcpus: machine.shape.vcpus,
        rate: ledger::rate_now(machine),
    };
    let most = machine.at_most.unwrap_or(is);
    let coming_since = match machine.state {
        MachineState::Waking { .. } => machine.since,
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => machine.created_at,
    };
    Meter {
        vcpus: most.vcpus.max(is.vcpus),
        rate: most.rate.max(is.rate),
        unbilled_since: machine.billed_until,
        coming_since,
    }
}
