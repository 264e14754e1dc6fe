//! Situations that a test bed must have been in, and which of them a run was in.

use std::collections::BTreeSet;

use crate::model::{AtLimit, BuildState, MachineState};
use crate::planner::{Blocked, PauseReason, Quota, Snapshot};

macro_rules! situations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Something that came up in a run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Situation {
            $($(#[$doc])* $name,)*
        }

        impl Situation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

situations! {
    /// A build succeeded.
    Success,
    /// A build failed.
    Failure,
    /// A build was canceled.
    Canceled,
    /// A build ran out of time.
    TimedOut,
    /// A build had no more attempts, or found no capacity for too long.
    InfraFailure,
    /// A build was skipped, for one that it needs did not succeed.
    Skipped,
    /// A build was given up because there was no capacity for too long.
    GivenUpForCapacity,
    /// A build was given up because a budget had no room for it.
    GivenUpForMoney,
    /// A build ended over budget.
    OverBudget,
    /// A build was stopped when its own amount, or its pipeline's, was spent.
    StoppedAtCap,
    /// People were warned that much of a budget is spent.
    BudgetWarned,
    /// Somebody approved more of a budget.
    Approved,
    /// A build was superseded before it ran.
    Superseded,
    /// A build was superseded while it ran.
    SupersededRunning,
    /// A build was canceled while it waited for others.
    CanceledWaiting,
    /// A build was canceled in the queue.
    CanceledQueued,
    /// A build was canceled that had a machine, but had not begun.
    CanceledBound,
    /// A build was canceled while it ran.
    CanceledRunning,
    /// Somebody retried a build.
    RetriedByPerson,
    /// Processes survived that were stopped.
    StopSurvived,
    /// An attempt was lost with its machine.
    AttemptLost,
    /// An attempt was interrupted.
    AttemptInterrupted,
    /// An attempt got no machine.
    AttemptNotLaunched,
    /// A machine was rebooted under a build.
    Rebooted,

    /// A build was bound to a machine that was idle.
    BoundWarm,
    /// A build was bound to a machine on its way up.
    BoundCold,
    /// A build moved from a machine that was being launched to one that was free.
    Moved,
    /// A machine was launched.
    Launched,
    /// Several machines were launched by one request.
    SharedLaunch,
    /// A machine was launched that no build had asked for.
    SpareLaunched,
    /// A machine was woken that no build had asked for.
    SpareWoken,
    /// The day's money for standing by was spent.
    CeilingReached,
    /// Several builds ran on a machine at once.
    SharedMachine,
    /// Builds of two projects ran on a machine one after the other.
    MixedMachine,
    /// A build went on demand where spare capacity was to be had.
    Surer,
    /// A machine fell asleep.
    FellAsleep,
    /// A machine was woken.
    Woken,
    /// Builds waited for a limit.
    WaitsForLimit,
    /// Builds waited for a number of virtual processors.
    WaitsForVcpus,
    /// Builds waited for the end of others, of which there may be so many.
    WaitsForBuilds,
    /// Builds waited because there had been too many launches within the hour.
    WaitsForLaunches,
    /// Builds waited for dollars per hour.
    WaitsForCost,
    /// Builds waited for a budget's next period.
    WaitsForMoney,
    /// Builds waited for somebody to approve more of a budget.
    WaitsForApproval,
    /// Builds waited for a machine that was being tidied up.
    WaitsForTidying,
    /// Builds waited for pools without capacity.
    WaitsForCapacity,
    /// Builds waited for an image whose launches had failed.
    WaitsForPause,
    /// Builds waited for an image that its provider refuses.
    WaitsForRefused,
    /// Builds waited for a provider that lets nothing be launched.
    WaitsForProvider,
    /// Builds waited for an image whose breaker was open.
    WaitsForBreaker,
    /// Builds waited because it was not known where their image can be launched.
    WaitsForResolution,
    /// Builds waited for their next attempt.
    WaitsForRetry,

    /// A request got fewer machines than it asked for.
    PartialFill,
    /// A request got none.
    NoCapacity,
    /// The answer to a launch was lost.
    LostReply,
    /// A launch was settled by what listings show.
    SettledByListing,
    /// A quota was used up.
    RefusedForQuota,
    /// A zone had no address left.
    RefusedForAddress,
    /// The provider wanted to be called less often.
    Throttled,
    /// The provider refused an image as it is.
    RefusedAsItIs,
    /// The provider let nothing be launched.
    Forbidden,
    /// An image version was quarantined.
    Quarantined,
    /// Somebody released an image version from quarantine.
    ReleasedByPerson,
    /// A machine did not boot.
    BootFailed,
    /// A machine ran and did not get ready.
    NeverReady,
    /// The breaker of an image opened.
    BreakerOpened,
    /// A machine was given up before its launch was answered.
    GivenUpBeforeAnswer,
    /// A wake found no capacity.
    WakeRefused,
    /// A machine could never be woken again.
    NeverWoken,
    /// A machine did not fall asleep.
    NotAsleep,
    /// A request to end a machine had to be repeated.
    EndRepeated,
    /// A machine with a build was to be taken back.
    NoticeWhileBusy,
    /// A machine on its way up was to be taken back.
    NoticeWhileBooting,
    /// A machine without a build was to be taken back.
    NoticeWhileIdle,
    /// A machine was taken back.
    Reclaimed,
    /// Spare capacity was left alone after too many interruptions.
    SpotLeftAlone,
    /// A machine failed under a build.
    LostBusy,
    /// A machine failed while it was idle.
    LostIdle,
    /// A machine failed while it was asleep.
    LostAsleep,

    /// A machine was gone after its idle timeout.
    GoneIdle,
    /// A machine was gone after its lifetime.
    GoneOld,
    /// A machine was gone after its number of builds.
    GoneWorn,
    /// A machine was gone because something of a build was left on it.
    GoneUnclean,
    /// A machine was gone because it was too full.
    GoneFull,
    /// A machine was gone that had been at hand for too long.
    GoneUnused,
    /// Tidying up after a build took a while.
    SlowTidy,
    /// A machine was gone because its image had changed.
    GoneOutdated,
    /// A machine was gone after too long a sleep.
    GoneAsleep,
    /// A machine was gone that no build needed any more.
    GoneUnneeded,
    /// A machine was gone to make room.
    GoneForRoom,
    /// A machine was ended by somebody.
    EndedByPerson,
    /// Somebody wanted to end a machine that had a build.
    NotEndedByPerson,

    /// A restart came between the decision to launch and the request.
    NeverSent,
    /// A restart came while the answer to a launch was not known.
    RestartWhileLaunching,
    /// A restart came while a machine booted.
    RestartWhileBooting,
    /// A restart came while a machine was idle.
    RestartWhileIdle,
    /// A restart came while a build ran.
    RestartWhileBusy,
    /// A restart came while a machine was on its way to sleep or asleep.
    RestartWhileAsleep,
    /// A restart came while a machine was being woken.
    RestartWhileWaking,
    /// A restart came while a machine was being ended.
    RestartWhileEnding,
    /// The clock jumped while a machine was on its way up.
    JumpWhileBooting,
    /// The clock jumped while a build ran.
    JumpWhileBusy,
    /// The clock jumped while a machine was idle.
    JumpWhileIdle,
    /// The clock jumped while a machine was asleep or on its way there.
    JumpWhileAsleep,
    /// The clock jumped while a machine was being ended.
    JumpWhileEnding,
    /// A policy changed.
    PolicyChanged,
    /// An image changed.
    ImageChanged,
}

impl Situation {
    /// Builds waited for this reason; none where there is nothing to tell.
    pub(super) fn waiting_for(snapshot: &Snapshot, why: &Blocked) -> Option<Self> {
        Some(match why {
            Blocked::Limit(reached) => match reached.quota {
                Quota::Machines => Self::WaitsForLimit,
                Quota::Vcpus => Self::WaitsForVcpus,
                Quota::Builds => Self::WaitsForBuilds,
                Quota::Launches => Self::WaitsForLaunches,
                Quota::Cost => Self::WaitsForCost,
            },
            Blocked::Budget(no_room) => {
                let budget = snapshot.budgets.get(no_room.budget)?;
                match budget.at_limit {
                    AtLimit::Hold => Self::WaitsForMoney,
                    AtLimit::OnApproval => Self::WaitsForApproval,
                    // They end.
                    AtLimit::Fail => return None,
                }
            }
            Blocked::Tidying(..) => Self::WaitsForTidying,
            Blocked::Paused(_, paused) => match paused.why {
                PauseReason::Breaker => Self::WaitsForBreaker,
                PauseReason::Failures => Self::WaitsForPause,
                PauseReason::Refused => Self::WaitsForRefused,
                PauseReason::Provider => Self::WaitsForProvider,
            },
            Blocked::Dry(..) => Self::WaitsForCapacity,
            Blocked::Unresolved(_) => Self::WaitsForResolution,
            Blocked::Backoff(_) => Self::WaitsForRetry,
            Blocked::NoImage | Blocked::NotSold(..) => return None,
        })
    }

    /// A build was canceled in this state.
    pub(super) const fn canceled_in(state: &BuildState) -> Self {
        match state {
            BuildState::Waiting => Self::CanceledWaiting,
            BuildState::Queued { .. } => Self::CanceledQueued,
            BuildState::Bound { .. } => Self::CanceledBound,
            BuildState::Running { .. } | BuildState::Finished { .. } => Self::CanceledRunning,
        }
    }

    /// The orchestrator was killed with a machine in this state.
    pub(super) const fn restarted_in(state: &MachineState) -> Self {
        match state {
            MachineState::Intended { .. } => Self::RestartWhileLaunching,
            MachineState::Booting { .. } => Self::RestartWhileBooting,
            MachineState::Idle { .. } => Self::RestartWhileIdle,
            MachineState::Busy { .. } => Self::RestartWhileBusy,
            MachineState::FallingAsleep { .. } | MachineState::Asleep { .. } => {
                Self::RestartWhileAsleep
            }
            MachineState::Waking { .. } => Self::RestartWhileWaking,
            MachineState::Draining { .. } | MachineState::Gone { .. } => Self::RestartWhileEnding,
        }
    }

    /// The clock jumped with a machine in this state.
    pub(super) const fn jumped_in(state: &MachineState) -> Self {
        match state {
            MachineState::Intended { .. }
            | MachineState::Booting { .. }
            | MachineState::Waking { .. } => Self::JumpWhileBooting,
            MachineState::Idle { .. } => Self::JumpWhileIdle,
            MachineState::Busy { .. } => Self::JumpWhileBusy,
            MachineState::FallingAsleep { .. } | MachineState::Asleep { .. } => {
                Self::JumpWhileAsleep
            }
            MachineState::Draining { .. } | MachineState::Gone { .. } => Self::JumpWhileEnding,
        }
    }
}

/// Situations that came up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(BTreeSet<Situation>);

impl Coverage {
    /// Takes note of a situation.
    pub(super) fn note(&mut self, situation: Situation) {
        self.0.insert(situation);
    }

    /// Adds what came up in another run.
    pub fn add(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// Whether a situation came up.
    pub fn has(&self, situation: Situation) -> bool {
        self.0.contains(&situation)
    }

    /// Situations that did not come up.
    pub fn missing(&self) -> Vec<Situation> {
        let all = Situation::ALL.iter().copied();
        all.filter(|situation| !self.has(*situation)).collect()
    }
}
