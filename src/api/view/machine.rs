//! Machines, with what they cost.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::MoneyView;
use super::catalogue::ShapeView;
use crate::ledger;
use crate::model::{BuildId, Hold, Machine, MachineId, MachineState, Money, Reason, Timestamp};

/// Where a machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MachineStateWord {
    /// The launch is decided and recorded; an instance may exist.
    Intended,
    /// The provider accepted the launch; not yet ready for builds.
    Booting,
    /// Ready, with nothing to do.
    Idle,
    /// Builds are bound to it or run on it.
    Busy,
    /// It is to be stopped, with its disk kept.
    FallingAsleep,
    /// Stopped, ready to be woken.
    Asleep,
    /// It is being started again, for a build.
    Waking,
    /// It takes no more builds and will be terminated.
    Draining,
    /// Proved gone.
    Gone,
}

impl MachineStateWord {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Booting => "booting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::FallingAsleep => "falling_asleep",
            Self::Asleep => "asleep",
            Self::Waking => "waking",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

impl From<&MachineState> for MachineStateWord {
    fn from(state: &MachineState) -> Self {
        match state {
            MachineState::Intended { .. } => Self::Intended,
            MachineState::Booting { .. } => Self::Booting,
            MachineState::Idle { .. } => Self::Idle,
            MachineState::Busy { .. } => Self::Busy,
            MachineState::FallingAsleep { .. } => Self::FallingAsleep,
            MachineState::Asleep { .. } => Self::Asleep,
            MachineState::Waking { .. } => Self::Waking,
            MachineState::Draining { .. } => Self::Draining,
            MachineState::Gone { .. } => Self::Gone,
        }
    }
}

/// An operator keeps a machine for debugging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldView {
    /// Who.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        Self {
            owner: hold.owner,
            reason: hold.reason,
            until: hold.until,
        }
    }
}

/// A machine, and what it cost so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineView {
    /// Its identity.
    #[schema(value_type = String, example = "vm_01jd3x9k2v6q8w4e5r7t9y1s3h")]
    pub id: MachineId,
    /// The image it was launched from.
    pub image: String,
    /// The version of that image.
    pub image_version: u32,
    /// The provider it comes from.
    pub provider: String,
    /// Its size and price.
    pub shape: ShapeView,
    /// The provider's name for the place it runs in; empty when there is only one.
    pub zone: String,
    /// How it was bought: `on-demand` or `spot`.
    pub market: String,
    /// Where it stands.
    pub state: MachineStateWord,
    /// When it got there.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When the launch was decided; the bill starts here.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The provider's own name for it.
    pub instance: Option<String>,
    /// Address and port of its SSH server.
    pub address: Option<String>,
    /// The builds bound to it, in the order in which they were bound; several where its image and
    /// policy allow them side by side.
    #[schema(value_type = Vec<String>)]
    pub builds: Vec<BuildId>,
    /// The project whose build it ran last, or was launched for.
    pub project: Option<String>,
    /// The build whose wait caused the launch.
    #[schema(value_type = Option<String>)]
    pub launched_for: Option<BuildId>,
    /// Builds that ended on it.
    pub builds_done: u32,
    /// Why it is being ended, or was.
    pub reason: Option<String>,
    /// Kept for a person.
    pub hold: Option<HoldView>,
    /// What it cost so far, time that is not in the ledger yet included.
    pub cost: MoneyView,
    /// Time since the launch was decided; for a machine that is gone, until it was.
    pub age_millis: u64,
}

impl MachineView {
    /// A machine as it stands at `now`.
    pub fn new(machine: Machine, now: Timestamp) -> Self {
        let cost = cost_until(&machine, now);
        let (address, reason) = place_and_end(&machine.state);
        let until = match machine.state {
            MachineState::Gone { .. } => machine.since,
            MachineState::Intended { .. }
            | MachineState::Booting { .. }
            | MachineState::Idle { .. }
            | MachineState::Busy { .. }
            | MachineState::FallingAsleep { .. }
            | MachineState::Asleep { .. }
            | MachineState::Waking { .. }
            | MachineState::Draining { .. } => now,
        };
        Self {
            id: machine.id,
            image: machine.image,
            image_version: machine.image_version,
            provider: machine.provider,
            shape: machine.shape.into(),
            zone: machine.zone,
            market: machine.market.word().to_owned(),
            state: MachineStateWord::from(&machine.state),
            since: machine.since,
            created_at: machine.created_at,
            instance: machine.state.instance().map(ToString::to_string),
            address,
            builds: machine.state.claims().iter().map(|claim| claim.0).collect(),
            project: machine.project.clone(),
            launched_for: machine.launched_for,
            builds_done: machine.builds_done,
            reason,
            hold: machine.hold.map(HoldView::from),
            cost: cost.into(),
            age_millis: until.since(machine.created_at).micros() / 1_000,
        }
    }
}

/// What is in the ledger, and for a machine that is not gone the time since. As a difference of two
/// cumulative costs, so that it agrees with the ledger to the micro-dollar once that is written.
fn cost_until(machine: &Machine, now: Timestamp) -> Money {
    match machine.state {
        MachineState::Gone { .. } => machine.billed,
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. }
        | MachineState::Draining { .. } => ledger::cost_at(machine, now.max(machine.billed_until)),
    }
}

/// Where it listens, and why it is ended.
fn place_and_end(state: &MachineState) -> (Option<String>, Option<String>) {
    match state {
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. } => (None, None),
        MachineState::Idle { endpoint, .. } => (Some(endpoint.address.to_string()), None),
        MachineState::Busy { endpoint, ends, .. } => (
            Some(endpoint.address.to_string()),
            ends.as_ref().map(Reason::sentence),
        ),
        MachineState::Draining { reason, .. } | MachineState::Gone { reason } => {
            (None, Some(reason.sentence()))
        }
    }
}
