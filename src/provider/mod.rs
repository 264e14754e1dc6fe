//! Port: where machines come from. One directory per outside system; siblings do not know each
//! other. Caller: `engine`.

use async_trait::async_trait;

use crate::model::{Endpoint, Image, InstanceId, MachineId, MachineKeys, Shape, Span, Timestamp};

pub mod local;
pub mod simulated;

/// Everything a launch needs; a plan leaves nothing to choose.
#[derive(Debug, Clone)]
pub struct LaunchRequest {
    /// The machine that is launched; doubles as the idempotency token and the identity tag.
    pub machine: MachineId,
    /// The image version to boot.
    pub image: Image,
    /// The size to boot it on.
    pub shape: Shape,
    /// Host and client keys to put on the machine before its first connect.
    pub keys: MachineKeys,
    /// The machine powers itself off when its lease was not renewed for this long.
    pub lease: Span,
}

/// An instance as the provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The provider's name for it.
    pub id: InstanceId,
    /// The machine it was launched for, from its identity tag.
    pub machine: MachineId,
    /// What it is doing.
    pub state: InstanceState,
    /// Where its SSH server listens, once known.
    pub endpoint: Option<Endpoint>,
    /// When it was launched.
    pub launched_at: Timestamp,
}

/// What an instance is doing, in the provider's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// On its way up.
    Pending,
    /// Up; its SSH server may still be starting.
    Running,
    /// On its way down.
    Stopping,
    /// Gone for good.
    Terminated,
}

/// How often and for how long an instance must be absent from complete listings to be proved gone:
/// a provider's listings may lag behind its launches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsenceProof {
    /// Complete listings without it, in a row.
    pub listings: u32,
    /// Time from the first to the last of them.
    pub over: Span,
}

/// All instances that carry our tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Whether this is all of them: absence proves something only in a complete listing.
    pub complete: bool,
    /// The instances.
    pub instances: Vec<Instance>,
}

/// What a provider error means for us; each kind has exactly one consequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No capacity of this shape here and now: try another offering, later this one again.
    PoolEmpty,
    /// A quota is used up: hold launches of this scope and tell a person.
    Quota,
    /// Called too often: slow down, blame nobody.
    Throttled,
    /// May or may not have happened: repeat with the same token, or settle by listing.
    Unknown,
    /// The request can never work: fail the image, not the loop.
    Config,
    /// We may not do this: stop the provider and tell a person.
    Auth,
}

/// A provider call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct ProviderError {
    /// What we were doing.
    pub operation: &'static str,
    /// What it means.
    pub kind: ErrorKind,
    /// What the provider said.
    pub message: String,
}

/// Where machines come from.
///
/// # Contract
/// - `launch` is idempotent by `request.machine`: the same request twice gives the same instance.
///   It may return before the instance runs. After an error of kind `Unknown` an instance may
///   exist; of any other kind, none does.
/// - `list` says whether it is complete. A freshly launched instance may be missing from a listing
///   for a short while; a terminated one may stay in it.
/// - `terminate` is idempotent; success means accepted, not gone. Proof of the end is a listing:
///   the instance `Terminated`, or absent from repeated complete listings.
/// - An instance ends by itself when its lease runs out.
/// - No call holds a lock over another.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// The name images refer to.
    fn name(&self) -> &str;

    /// What it takes for an instance that complete listings do not show to be proved gone.
    fn absence_proof(&self) -> AbsenceProof;

    /// Boots an instance.
    async fn launch(&self, request: &LaunchRequest) -> Result<Instance, ProviderError>;

    /// Lists all instances that carry our tag.
    async fn list(&self) -> Result<Listing, ProviderError>;

    /// Ends instances; one answer for each, in order.
    async fn terminate(&self, ids: &[InstanceId]) -> Vec<Result<(), ProviderError>>;
}
