//! Port: where machines come from. One directory per outside system; siblings do not know each
//! other. Caller: `engine`.

use async_trait::async_trait;

use crate::model::{
    Billing, Endpoint, Image, ImageSpec, InstanceId, Jump, LaunchId, MachineId, MachineKeys,
    Market, Offering, Pool, Secret, Shape, SleepKind, Span, Timestamp,
};

#[cfg(feature = "ec2")]
pub mod ec2;
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
    /// What it was launched for, from its identity tag.
    pub origin: Origin,
    /// What it is doing.
    pub state: InstanceState,
    /// Where its SSH server listens, once known; to be tried in this order.
    pub endpoints: Vec<Endpoint>,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// The pool that it was taken from, where the provider says.
    pub pool: Option<Pool>,
    /// Why it ended or is about to, in the provider's words.
    pub why: Option<String>,
    /// Whether the provider took it back.
    pub is_reclaimed: bool,
}

/// What an instance was launched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// For one machine.
    Machine(MachineId),
    /// By a recorded launch, for one of its machines.
    Launch(LaunchId),
}

/// What an instance is doing, in the provider's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// On its way up.
    Pending,
    /// Up; its SSH server may still be starting.
    Running,
    /// On its way to sleep.
    FallingAsleep,
    /// Stopped, with its disk kept.
    Asleep,
    /// On its way down for good.
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
    /// No capacity in these pools now: try others, later these again.
    PoolEmpty,
    /// A quota is used up: hold launches on this market and tell a person.
    Quota,
    /// No address left in this zone: try other zones, later this one again.
    Address,
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
    /// The pools that it is about, where it is about any.
    pub pools: Vec<Pool>,
}

/// What a provider made of an image: what it launches, and where it can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolution {
    /// What is launched, as the provider names it (an AMI id).
    pub reference: String,
    /// One clause about it for people: its name, date and architecture.
    pub description: String,
    /// Where it can be launched, with prices.
    pub offerings: Vec<Offering>,
    /// Where the prices come from, and of when they are.
    pub prices: String,
}

/// A launch of one or more like machines; a plan leaves nothing to choose but the pool, which the
/// provider takes from the given ones because it alone knows their depth.
#[derive(Debug, Clone)]
pub struct LaunchOrder {
    /// Its identity, which travels as a tag.
    pub launch: LaunchId,
    /// How many machines.
    pub count: u32,
    /// The image version to boot.
    pub image: Image,
    /// What the image's reference stands for: [`Resolution::reference`].
    pub reference: String,
    /// How capacity is bought.
    pub market: Market,
    /// Where it may be taken from, cheapest first; all on that market.
    pub offerings: Vec<Offering>,
    /// Host and client keys to put on the machines before their first connect.
    pub keys: MachineKeys,
    /// A machine powers itself off when its lease was not renewed for this long.
    pub lease: Span,
    /// When no policy would keep a machine any longer; travels as a tag, for sweeps without books.
    pub expires_at: Timestamp,
}

/// A launch request that is ready to be sent, and to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedLaunch {
    /// The idempotency token: a hash of launch and request.
    pub token: String,
    /// The request, byte for byte.
    pub request: Secret,
}

/// What came of a launch: instances for some or all of its machines, and what was in the way of the
/// others. The order of instances is the same whenever it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaunchAnswer {
    /// What was launched.
    pub instances: Vec<Instance>,
    /// What was in the way, pool by pool or as a whole.
    pub refusals: Vec<ProviderError>,
}

/// How machines of a provider are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// A host to go through.
    pub jump: Option<Jump>,
    /// Where a machine reads what its provider says of it, for spot machines; `{address}` stands
    /// for the machine's address.
    pub metadata_url: Option<String>,
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

    /// Boots an instance. Not asked of a provider with a [`Fleet`].
    async fn launch(&self, request: &LaunchRequest) -> Result<Instance, ProviderError>;

    /// Lists all instances that carry our tag.
    async fn list(&self) -> Result<Listing, ProviderError>;

    /// Ends instances; one answer for each, in order.
    async fn terminate(&self, ids: &[InstanceId]) -> Vec<Result<(), ProviderError>>;

    /// For a provider whose launches are gathered, recorded and then sent.
    fn fleet(&self) -> Option<&dyn Fleet> {
        None
    }

    /// For a provider whose machines can sleep.
    fn sleeper(&self) -> Option<&dyn Sleeper> {
        None
    }

    /// In which pieces it bills machine time, where an image does not say otherwise.
    fn billing(&self) -> Billing {
        Billing::default()
    }

    /// How its machines are reached.
    fn reach(&self) -> Reach {
        Reach::default()
    }

    /// What a machine said on its console, if the provider keeps that.
    async fn console(&self, _id: &InstanceId) -> Result<Option<String>, ProviderError> {
        Ok(None)
    }

    /// Waits for word of instances that are about to be taken back; for ever when none comes this
    /// way. What was given is not given again.
    async fn interruptions(&self) -> Vec<InstanceId> {
        std::future::pending().await
    }

    /// Looks for what is left of instances that are gone (disks, interfaces, requests, templates)
    /// and removes it by the rules of sweeps; one line for each thing removed.
    async fn sweep_residue(&self, _now: Timestamp) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }
}

/// Launches that are gathered, recorded and then sent.
///
/// # Contract
/// - `prepare` is pure: the same order gives the same bytes.
/// - `launch` sends what was prepared, and nothing else; sent again, it finds the same instances.
///   After an error of kind `Unknown` or `Throttled` instances may exist; after any other, none do.
#[async_trait]
pub trait Fleet: Send + Sync + std::fmt::Debug {
    /// Finds out what an image's reference and wish stand for now.
    async fn resolve(&self, spec: &ImageSpec) -> Result<Resolution, ProviderError>;

    /// Most machines in one launch.
    fn most(&self) -> usize;

    /// Writes the request of an order.
    fn prepare(&self, order: &LaunchOrder) -> Result<PreparedLaunch, ProviderError>;

    /// Sends a request.
    async fn launch(&self, prepared: &PreparedLaunch) -> Result<LaunchAnswer, ProviderError>;
}

/// Machines that can sleep.
///
/// # Contract
/// Both calls are idempotent, and return when they are accepted: a listing shows when it is done.
#[async_trait]
pub trait Sleeper: Send + Sync + std::fmt::Debug {
    /// Stops an instance and keeps its disk.
    async fn sleep(&self, id: &InstanceId, how: SleepKind) -> Result<(), ProviderError>;

    /// Starts a stopped instance again, as the given type.
    async fn wake(&self, id: &InstanceId, shape: &Shape) -> Result<(), ProviderError>;
}
