//! What goes wrong in a scenario, and what happens beside its history.

use crate::model::{ImageSpec, PolicySpec, Span};

/// What goes wrong now and then; nothing by default. Failed boots and reclaimed spot machines are
/// part of every cloud: see [`super::CloudModel`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Launch requests of a thousand whose answer is lost.
    pub lost_replies_per_mille: u32,
    /// Launch requests of a thousand that get fewer machines than they asked for.
    pub partial_fills_per_mille: u32,
    /// Launch requests of a thousand that are told to come back later.
    pub throttles_per_mille: u32,
    /// Launch requests of a thousand for which a zone has no address left.
    pub no_address_per_mille: u32,
    /// Machines of a thousand that run and never take builds.
    pub never_ready_per_mille: u32,
    /// Machines of a thousand that fail in an hour, asleep or awake.
    pub losses_per_mille_hour: u32,
    /// Reclaims of a hundred that are announced two minutes before.
    pub notices_percent: u32,
    /// Wakes of a thousand that find no capacity.
    pub wakes_refused_per_mille: u32,
    /// Wakes of a thousand that can never work again.
    pub wakes_broken_per_mille: u32,
    /// Machines of a thousand that do not fall asleep.
    pub not_asleep_per_mille: u32,
    /// Requests to end a machine, of a thousand, that fail and have to be repeated.
    pub ends_refused_per_mille: u32,
    /// Builds of a thousand that fail.
    pub failures_per_mille: u32,
    /// Builds of a thousand that never end by themselves.
    pub endless_per_mille: u32,
    /// Builds of a thousand whose machine is rebooted under them.
    pub reboots_per_mille: u32,
    /// Stops of a thousand that the build's processes survive.
    pub stubborn_per_mille: u32,
    /// Builds of a thousand of which something is left on their machine for good.
    pub unclean_per_mille: u32,
    /// Most of its disk, inodes or memory, of a hundred, that a build uses up on its machine.
    pub fills_percent: u32,
    /// Builds of a thousand after which it takes a while to tidy up, or never ends.
    pub slow_tidies_per_mille: u32,
}

/// Something that happens beside the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    /// Pools have no capacity.
    Drought {
        /// How many of a hundred.
        percent: u32,
        /// For how long.
        lasts: Span,
    },
    /// Spot machines are taken back together, as it happens where capacity gets short.
    Wave {
        /// How many of a hundred.
        percent: u32,
    },
    /// The provider answers nothing.
    Outage {
        /// For how long.
        lasts: Span,
    },
    /// The provider refuses launches.
    Refusals {
        /// Which.
        what: Refusal,
        /// For how long.
        lasts: Span,
    },
    /// The orchestrator is killed.
    Restart {
        /// How long until it is back.
        down: Span,
    },
    /// The orchestrator's clock jumps ahead.
    ClockJump(Span),
    /// A policy file is applied.
    Policy(String, PolicySpec),
    /// An image file is applied.
    Image(String, ImageSpec),
    /// An image file is applied whose version does not boot.
    BadImage(String, ImageSpec),
    /// Somebody releases an image version from quarantine.
    Release,
    /// Somebody cancels builds that are not over, so many of a hundred.
    Cancel {
        /// How many of a hundred.
        percent: u32,
    },
    /// Somebody retries a build that ended without success.
    Retry,
    /// Somebody ends a machine without a build.
    EndMachine,
}

/// Launches that a provider refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// All of them: we may not do this.
    Account,
    /// Those of an image, which cannot be launched as it is.
    Image(String),
}
