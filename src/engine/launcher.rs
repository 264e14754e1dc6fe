//! Launches of providers with a fleet: like ones are gathered for a moment, recorded as one request,
//! and sent until they are answered. What is recorded may reach the provider at any time from then
//! on; what is not has not.
//!
//! The answer is settled in one transaction: each machine gets its instance or is known to have
//! none, and what was in the way has its one consequence (`capacity`). A restart sends open requests
//! again, byte for byte; one whose token may have expired is settled by what listings show.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use backoff::backoff::Backoff;

use crate::books::{not_launched, record_launch, settle};
use crate::model::{
    Image, Launch, LaunchId, MachineId, MachineState, Market, Offering, Reason, Span, Timestamp,
};
use crate::provider::{
    ErrorKind, Instance, InstanceState, LaunchAnswer, LaunchOrder, Origin, PreparedLaunch,
    Provider, ProviderError,
};

use super::engine::{Engine, Fault};
use super::retry;

/// A launch waits this long for others like it: a submission's builds are planned in one pass, and
/// a webhook's come within milliseconds.
const QUIET: Span = Span::from_millis(35);
/// No launch waits longer than this for others.
const LONGEST_WAIT: Span = Span::from_secs(1);
/// From this age on a token is not relied on: AWS keeps them for a day at least by older editions of
/// its manual, and says nothing in newer ones.
const TOKEN_AGE: Span = Span::from_secs(3_600);

/// Beyond its lifetime a machine may finish what it has begun, which takes this long at most unless
/// somebody allows a build more than a day: such a one should have an image with a longer lifetime.
const LONGEST_WORK: Span = Span::from_secs(24 * 3_600);

/// Launches that may share a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Likeness {
    image: String,
    version: u32,
    market: Market,
    offerings: Vec<Offering>,
}

/// Machines that wait to be launched together.
#[derive(Debug)]
pub(super) struct Group {
    machines: Vec<MachineId>,
    first: Timestamp,
    last: Timestamp,
}

/// What came of recording a launch.
enum Recorded {
    /// It is recorded, and may be sent.
    Launch(Launch),
    /// It cannot be written down; its machines have been told.
    Refused,
    /// Machines of it were given up meanwhile.
    Changed,
}

/// Launches that are being gathered.
pub(super) type Gathering = BTreeMap<Likeness, Group>;

impl Engine {
    /// Puts a machine's launch with others like it; the first of them begins to wait.
    pub(super) fn gather(self: &Arc<Self>, id: MachineId, offerings: Vec<Offering>) {
        let likeness = {
            let books = self.books();
            let Some(machine) = books.machines.get(&id) else {
                return;
            };
            Likeness {
                image: machine.image.clone(),
                version: machine.image_version,
                market: machine.market,
                offerings,
            }
        };
        let now = self.parts.clock.now();
        let mut gathering = self
            .gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = gathering.get_mut(&likeness) {
            group.machines.push(id);
            group.last = now;
            return;
        }
        let group = Group {
            machines: vec![id],
            first: now,
            last: now,
        };
        gathering.insert(likeness.clone(), group);
        drop(gathering);
        let engine = Arc::clone(self);
        self.spawn(async move { engine.launch_gathered(likeness).await });
    }

    async fn launch_gathered(self: Arc<Self>, likeness: Likeness) {
        let machines = loop {
            let now = self.parts.clock.now();
            let due = {
                let mut gathering = self
                    .gathering
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let Some(group) = gathering.get(&likeness) else {
                    return;
                };
                let due = (group.last + QUIET).min(group.first + LONGEST_WAIT);
                if due <= now {
                    break gathering.remove(&likeness).map(|group| group.machines);
                }
                due
            };
            self.parts.clock.sleep(due.since(now)).await;
        };
        let Some(provider) = self.provider_of_image(&likeness.image, likeness.version) else {
            return;
        };
        let most = provider.fleet().map_or(1, |fleet| fleet.most().max(1));
        let machines = self.still_intended(machines.unwrap_or_default());
        for machines in machines.chunks(most) {
            let engine = Arc::clone(&self);
            let (likeness, machines) = (likeness.clone(), machines.to_vec());
            self.spawn(async move {
                if let Ok(Some(launch)) = engine.record_wanted(&likeness, machines).await {
                    engine.send_launch(launch).await;
                }
            });
        }
    }

    /// Records a launch of those machines that are still wanted at the moment of the record.
    async fn record_wanted(
        self: &Arc<Self>,
        likeness: &Likeness,
        mut machines: Vec<MachineId>,
    ) -> Result<Option<Launch>, Fault> {
        loop {
            machines = self.still_intended(machines);
            if machines.is_empty() {
                return Ok(None);
            }
            match self.record_launch(likeness, machines.clone()).await? {
                Recorded::Launch(launch) => return Ok(Some(launch)),
                Recorded::Refused => return Ok(None),
                Recorded::Changed => {}
            }
        }
    }

    /// Those that were not given up while they waited for others.
    fn still_intended(&self, mut machines: Vec<MachineId>) -> Vec<MachineId> {
        let books = self.books();
        machines.retain(|id| {
            let machine = books.machines.get(id);
            machine.is_some_and(|m| matches!(m.state, MachineState::Intended { .. }))
        });
        machines
    }

    fn provider_of_image(&self, image: &str, version: u32) -> Option<Arc<dyn Provider>> {
        let books = self.books();
        let image = books.images.get(&(image.to_owned(), version))?;
        self.provider(&image.spec.provider).cloned()
    }

    /// Writes the request and commits it; from then on it may be out in the world.
    async fn record_launch(
        self: &Arc<Self>,
        likeness: &Likeness,
        machines: Vec<MachineId>,
    ) -> Result<Recorded, Fault> {
        let Some((image, order)) = self.order(likeness, machines.len())? else {
            return Ok(Recorded::Refused);
        };
        let provider = image.spec.provider.clone();
        let prepared = match self.provider(&provider).and_then(|p| p.fleet()) {
            Some(fleet) => fleet.prepare(&order),
            None => Err(no_fleet(&provider)),
        };
        let now = self.parts.clock.now();
        let mut launch = Launch {
            id: order.launch,
            provider,
            image: image.name.clone(),
            image_version: image.version,
            pools: order.offerings.iter().map(Offering::pool).collect(),
            machines,
            token: String::new(),
            request: crate::model::Secret::default(),
            at: now,
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                let answer = LaunchAnswer {
                    instances: Vec::new(),
                    refusals: vec![error],
                };
                self.settle_launch(&launch, &answer).await?;
                return Ok(Recorded::Refused);
            }
        };
        launch.token = prepared.token;
        launch.request = prepared.request;
        let recorded = launch.clone();
        let is_recorded = self
            .write_durably(|draft| Ok(record_launch(draft, recorded, &order.keys)))
            .await?;
        Ok(if is_recorded {
            Recorded::Launch(launch)
        } else {
            Recorded::Changed
        })
    }

    /// The order for a group, with keys: one machine's own, or ones that a larger launch shares
    /// until each machine has got its own at its first login.
    fn order(
        &self,
        likeness: &Likeness,
        count: usize,
    ) -> Result<Option<(Arc<Image>, LaunchOrder)>, Fault> {
        let now = self.parts.clock.now();
        let launch = LaunchId::from_bits(self.parts.ids.bits(now));
        let found = {
            let books = self.books();
            let image = books
                .images
                .get(&(likeness.image.clone(), likeness.version));
            image.map(|image| {
                let resolution = books.capacity.resolution(image);
                let reference = resolution.map(|found| found.reference.clone());
                let lifetime = books.lifetime_of(&image.name);
                (Arc::clone(image), reference.unwrap_or_default(), lifetime)
            })
        };
        let Some((image, reference, lifetime)) = found else {
            return Ok(None);
        };
        let mut keys = self.new_keys(MachineId::from_bits(launch.bits()))?;
        keys.is_shared = count > 1;
        let image_copy = Image::clone(&image);
        let order = LaunchOrder {
            launch,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            image: image_copy,
            reference,
            market: likeness.market,
            offerings: likeness.offerings.clone(),
            keys,
            lease: self.parts.settings.lease,
            expires_at: now + lifetime + LONGEST_WORK,
        };
        Ok(Some((image, order)))
    }

    /// Sends a recorded request until its outcome is known, and settles it.
    pub(super) async fn send_launch(self: Arc<Self>, launch: Launch) {
        let prepared = PreparedLaunch {
            token: launch.token.clone(),
            request: launch.request.clone(),
        };
        let mut pauses = retry::backoff();
        loop {
            let Some(provider) = self.provider(&launch.provider).cloned() else {
                tracing::error!(provider = launch.provider, launch.id = %launch.id, "a launch waits for a provider that is not configured");
                return;
            };
            let now = self.parts.clock.now();
            let answer = match provider.fleet() {
                Some(_) if now.since(launch.at) > TOKEN_AGE => {
                    self.answer_by_listing(&provider, &launch).await
                }
                Some(fleet) => fleet.launch(&prepared).await,
                None => Err(no_fleet(&launch.provider)),
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => match error.kind {
                    ErrorKind::Unknown | ErrorKind::Throttled => {
                        tracing::warn!(launch.id = %launch.id, %error, "launch not answered");
                        let pause = pauses.next_backoff().map_or(LONGEST_WAIT, Span::from);
                        self.parts.clock.sleep(pause).await;
                        continue;
                    }
                    ErrorKind::PoolEmpty
                    | ErrorKind::Quota
                    | ErrorKind::Address
                    | ErrorKind::Config
                    | ErrorKind::Auth => LaunchAnswer {
                        instances: Vec::new(),
                        refusals: vec![error],
                    },
                },
            };
            // On a fault the state is loaded anew, and the request is sent again from there.
            let _ = self.settle_launch(&launch, &answer).await;
            return;
        }
    }

    /// What listings show of a launch that is too old to be asked for again.
    async fn answer_by_listing(
        &self,
        provider: &Arc<dyn Provider>,
        launch: &Launch,
    ) -> Result<LaunchAnswer, ProviderError> {
        let listing = provider.list().await?;
        let of_it = |i: &Instance| {
            let is_over = matches!(i.state, InstanceState::Stopping | InstanceState::Terminated);
            i.origin == Origin::Launch(launch.id) && !is_over
        };
        let mut instances: Vec<Instance> =
            listing.instances.into_iter().filter(|i| of_it(i)).collect();
        instances.sort_by(|one, two| one.id.cmp(&two.id));
        if !listing.complete {
            return Err(ProviderError {
                operation: "settle an old launch",
                kind: ErrorKind::Unknown,
                message: "the listing is not complete".to_owned(),
                pools: Vec::new(),
            });
        }
        let lost = ProviderError {
            operation: "settle an old launch",
            kind: ErrorKind::Unknown,
            message: "its answer was lost, and no instance of it is there".to_owned(),
            pools: Vec::new(),
        };
        Ok(LaunchAnswer {
            instances,
            refusals: vec![lost],
        })
    }

    /// Gives each machine of a launch its instance, or the certainty that it has none.
    async fn settle_launch(
        self: &Arc<Self>,
        launch: &Launch,
        answer: &LaunchAnswer,
    ) -> Result<(), Fault> {
        let up = self
            .write_durably(|draft| settle(draft, launch, answer))
            .await?;
        for refusal in &answer.refusals {
            tracing::info!(launch.id = %launch.id, error = %refusal, "launch refused");
        }
        for id in up {
            let engine = Arc::clone(self);
            self.spawn(engine.bring_up(id));
        }
        self.nudge();
        Ok(())
    }

    /// A machine was to be launched when the server stopped; nothing was sent for it.
    pub(super) async fn never_sent(self: Arc<Self>, id: MachineId) {
        let why = "the server was restarted before the launch was sent";
        let written = self
            .write_durably(|draft| not_launched(draft, id, why, Reason::Failed(why.to_owned())))
            .await;
        if written.is_ok() {
            self.nudge();
        }
    }
}

fn no_fleet(provider: &str) -> ProviderError {
    ProviderError {
        operation: "find the provider",
        kind: ErrorKind::Config,
        message: format!("provider {provider:?} takes no recorded launches"),
        pools: Vec::new(),
    }
}
