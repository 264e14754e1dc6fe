//! What a transaction writes: the only way anything reaches the store.

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::budget::BudgetNote;
use super::build::{Build, Pipeline};
use super::catalogue::Image;
use super::event::Event;
use super::id::{BuildId, LaunchId, MachineId, PipelineId, TokenId};
use super::ledger::Entry;
use super::log::Extent;
use super::machine::{Machine, MachineKeys};
use super::offering::Launch;
use super::policy::Policy;
use super::time::Timestamp;

/// One write. A transaction is a list of them, applied together or not at all.
///
/// `Update…` carries the whole new value and the rev that was read. It is a compare-and-set: the
/// stored row must still have that rev, and gets `value.rev`. A list names parents before what
/// belongs to them: a pipeline before its builds, a build before its attempts, an attempt before
/// its extents, a machine before its keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new pipeline row.
    InsertPipeline(Pipeline),
    /// A new build row.
    InsertBuild(Build),
    /// Mutable part of a build row, if it still has the rev that was read.
    UpdateBuild(Build, u64),
    /// A new attempt row.
    InsertAttempt(Attempt),
    /// Mutable part of an attempt row, if it still has the rev that was read.
    UpdateAttempt(Attempt, u64),
    /// A new machine row.
    InsertMachine(Machine),
    /// Mutable part of a machine row, if it still has the rev that was read.
    UpdateMachine(Machine, u64),
    /// The keys of a machine, new or changed.
    PutMachineKeys(MachineKeys),
    /// Forget a machine's keys: it is gone.
    DeleteMachineKeys(MachineId),
    /// A launch request that may reach the provider from now on.
    InsertLaunch(Launch),
    /// Forget a launch: its outcome is known.
    DeleteLaunch(LaunchId),
    /// A new image version.
    InsertImage(Image),
    /// State of an image version, if it still has the rev that was read.
    UpdateImage(Image, u64),
    /// A new policy version; the highest version of a name is the current one.
    InsertPolicy(Policy),
    /// Where log bytes lie.
    InsertExtent(Extent),
    /// Something happened to a budget.
    AppendBudgetNote(BudgetNote),
    /// Money spent.
    AppendEntry(Entry),
    /// Something happened.
    AppendEvent(Event),
    /// A new API token.
    InsertToken(Token),
    /// An API token is no longer accepted.
    RevokeToken(TokenId, Timestamp),
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum Subject {
    /// A pipeline.
    Pipeline(PipelineId),
    /// A build.
    Build(BuildId),
    /// A machine.
    Machine(MachineId),
    /// An image, by name.
    Image(String),
    /// A policy, by name.
    Policy(String),
}

/// A bearer token for the API; only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its identity.
    pub id: TokenId,
    /// What the operator called it; recorded as the author of what is done with it.
    pub name: String,
    /// What it may do.
    pub role: TokenRole,
    /// SHA-256 of the token, hex.
    pub hash: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub revoked_at: Option<Timestamp>,
}

/// What a token may do; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRole {
    /// Look at everything.
    Reader,
    /// Queue, cancel and retry builds.
    Submitter,
    /// Change catalogue, policies, tokens and machines.
    Admin,
}
