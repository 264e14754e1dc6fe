//! A model of the cloud: pools, instances, and what runs on them. It goes its own way: it knows
//! nothing of the books, and what is killed or restarted on our side is nothing to it.
//!
//! Its time is the world's, which the orchestrator's clock may be ahead of.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::model::{
    AttemptId, Endpoint, Image, InstanceId, Launch, Machine, Market, Offering, Pool, Rate, Span,
    Timestamp,
};
use crate::provider::{
    ErrorKind, Instance, InstanceState, LaunchAnswer, Origin, ProviderError, Resolution,
};

use super::dice::Dice;
use super::events::{Event, Taken};
use super::faults::Faults;
use super::scenario::CloudModel;
use guest::Remains;
use weather::Weather;

mod guest;
mod weather;

/// Names an instance.
pub(super) type InstanceNumber = u64;

/// From a decision to the request that the cloud sees, and from there to its answer: part of the times
/// of the model, which count from the decision.
pub(super) const REQUEST: Span = Span::from_millis(35);
/// How long the cloud takes to answer.
pub(super) const ANSWER: Span = Span::from_millis(500);
/// From a decision to its answer.
pub(super) const ANSWERED: Span = Span::from_millis(535);
/// How long before a reclaim its notice comes.
const NOTICE: Span = Span::from_secs(120);

/// What came of a request.
#[derive(Debug)]
pub(super) enum Reply<T> {
    /// Nobody knows: it may have worked.
    Lost,
    /// It did not work.
    Refused(ProviderError),
    /// It worked.
    Done(T),
}

/// How a build's processes end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// With an exit code.
    Exits(i32),
    /// The machine is rebooted under them.
    Reboot,
    /// They do not.
    Never,
}

/// A build's processes on an instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// When they end by themselves.
    pub(super) ends_at: Timestamp,
    /// How.
    pub(super) end: RunEnd,
}

/// An instance.
#[derive(Debug)]
struct Vm {
    origin: Origin,
    pool: Pool,
    launched_at: Timestamp,
    up_at: Option<Timestamp>,
    stopped_at: Option<Timestamp>,
    ended: Option<(Timestamp, Option<Taken>)>,
    is_announced: bool,
    runs: BTreeMap<AttemptId, Run>,
    /// What builds have left on it.
    remains: Remains,
}

/// What is asked of the cloud.
#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    origin: Origin,
    /// The image and its version.
    image: (&'a str, u32),
    pools: &'a [Pool],
    count: usize,
}

/// The cloud.
#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) model: CloudModel,
    faults: Faults,
    dice: Dice,
    vms: BTreeMap<InstanceNumber, Vm>,
    /// Answers by the token of their request, for requests that are sent again.
    answers: BTreeMap<Origin, (Vec<InstanceNumber>, Vec<ProviderError>)>,
    weather: Weather,
    launched: InstanceNumber,
    /// What it is going to do by itself.
    pub(super) later: Vec<(Timestamp, Event)>,
}

impl Cloud {
    pub(super) fn new(model: CloudModel, faults: Faults, seed: u64) -> Self {
        Self {
            model,
            faults,
            dice: Dice::new(seed, 2),
            vms: BTreeMap::new(),
            answers: BTreeMap::new(),
            weather: Weather::default(),
            launched: 0,
            later: Vec::new(),
        }
    }

    /// What an image stands for: its shapes in every zone, on demand and as spare capacity.
    pub(super) fn resolve(&self, image: &Image) -> Resolution {
        let mut offerings = Vec::new();
        let spot = self
            .model
            .spot_percent
            .map(|percent| (Market::Spot, percent));
        let markets = [Some((Market::OnDemand, 100)), spot];
        for shape in &image.spec.shapes {
            for zone in 0..self.model.zones.max(1) {
                for (market, percent) in markets.into_iter().flatten() {
                    let mut shape = shape.clone();
                    let list = shape.price_usd_micro_per_hour.micros_per_hour();
                    let price = list.saturating_mul(u64::from(percent)) / 100;
                    shape.price_usd_micro_per_hour = Rate::from_micros_per_hour(price);
                    offerings.push(Offering {
                        shape,
                        zone: format!("zone-{zone}"),
                        market,
                        asleep: self.model.asleep,
                    });
                }
            }
        }
        Resolution {
            reference: format!("{} version {}", image.name, image.version),
            description: "a simulated image".to_owned(),
            offerings,
            prices: "its file".to_owned(),
        }
    }

    /// Launches what was recorded; the same request again gives the same answer.
    pub(super) fn launch(&mut self, launch: &Launch, at: Timestamp) -> Reply<LaunchAnswer> {
        let origin = Origin::Launch(launch.id);
        if !self.answers.contains_key(&origin) {
            if self.is_out(at) && self.dice.chance(500) {
                return Reply::Lost;
            }
            let request = Request {
                origin,
                image: (&launch.image, launch.image_version),
                pools: &launch.pools,
                count: launch.machines.len(),
            };
            if let Some(error) = self.refuses(&request, at) {
                return Reply::Refused(error);
            }
            let answer = self.fill(&request, at);
            self.answers.insert(origin, answer);
        }
        if self.is_out(at) || self.dice.chance(self.faults.lost_replies_per_mille) {
            return Reply::Lost;
        }
        Reply::Done(self.answer(origin, at))
    }

    /// Launches a machine by itself; asked again, it is the same instance.
    pub(super) fn launch_one(&mut self, machine: &Machine, at: Timestamp) -> Reply<Instance> {
        let origin = Origin::Machine(machine.id);
        if !self.answers.contains_key(&origin) {
            if self.is_out(at) {
                return Reply::Lost;
            }
            let request = Request {
                origin,
                image: (&machine.image, machine.image_version),
                pools: &[machine.pool()],
                count: 1,
            };
            if let Some(error) = self.refuses(&request, at) {
                return Reply::Refused(error);
            }
            let answer = self.fill(&request, at);
            self.answers.insert(origin, answer);
        }
        if self.is_out(at) || self.dice.chance(self.faults.lost_replies_per_mille) {
            return Reply::Lost;
        }
        let mut answer = self.answer(origin, at);
        match (answer.instances.pop(), answer.refusals.pop()) {
            (Some(instance), _) => Reply::Done(instance),
            (None, Some(error)) => Reply::Refused(error),
            (None, None) => Reply::Lost,
        }
    }

    /// What listings show of a launch: instances of it that are not over.
    pub(super) fn list_launch(&self, launch: &Launch, at: Timestamp) -> Option<Vec<Instance>> {
        if self.is_out(at) {
            return None;
        }
        let of_it = |(_, vm): &(&InstanceNumber, &Vm)| {
            vm.origin == Origin::Launch(launch.id) && vm.ended.is_none()
        };
        let found = self.vms.iter().filter(of_it);
        Some(
            found
                .map(|(number, vm)| instance(*number, vm, at))
                .collect(),
        )
    }

    /// The answer to a request has been taken: it will not be sent again.
    pub(super) fn forget(&mut self, origin: Origin) {
        self.answers.remove(&origin);
    }

    fn answer(&self, origin: Origin, at: Timestamp) -> LaunchAnswer {
        let Some((numbers, refusals)) = self.answers.get(&origin) else {
            return LaunchAnswer::default();
        };
        let instances = numbers
            .iter()
            .filter_map(|number| Some(instance(*number, self.vms.get(number)?, at)));
        LaunchAnswer {
            instances: instances.collect(),
            refusals: refusals.clone(),
        }
    }

    fn fill(
        &mut self,
        request: &Request<'_>,
        at: Timestamp,
    ) -> (Vec<InstanceNumber>, Vec<ProviderError>) {
        let pools = request.pools.iter();
        let (open, dry): (Vec<&Pool>, Vec<&Pool>) = pools.partition(|pool| !self.is_dry(pool, at));
        let mut refusals: Vec<ProviderError> = dry.into_iter().map(pool_empty).collect();
        let Some(pool) = open.first() else {
            return (Vec::new(), refusals);
        };
        let mut count = u64::try_from(request.count).unwrap_or(u64::MAX);
        if self.dice.chance(self.faults.partial_fills_per_mille) {
            count = self.dice.below(count);
            // Some answers leave out why.
            if self.dice.chance(500) {
                refusals.push(pool_empty(pool));
            }
        }
        let left = self.quota_left(pool.market);
        if count > left {
            count = left;
            refusals.push(over_quota(request.pools));
        }
        let numbers = (0..count).map(|_| self.boot(request, pool, at)).collect();
        (numbers, refusals)
    }

    fn boot(&mut self, request: &Request<'_>, pool: &Pool, at: Timestamp) -> InstanceNumber {
        self.launched += 1;
        let number = self.launched;
        let takes = self.dice.around(self.model.boot, self.model.spread_percent);
        let up_at = Self::up_at(at, takes);
        let is_bad = self.weather.is_bad(request.image);
        let never = self.dice.chance(self.faults.never_ready_per_mille);
        if self.dice.chance(self.model.boot_failures_per_mille) || is_bad {
            let half = Span::from_micros(takes.micros() / 2);
            let event = Event::Taken(number, Taken::Unbootable);
            self.later.push((at + half, event));
        }
        if pool.market == Market::Spot {
            self.draw_reclaim(number, at);
        }
        if let Some(fails_at) = self.dice.hazard(at, self.faults.losses_per_mille_hour) {
            let event = Event::Taken(number, Taken::Failed);
            self.later.push((fails_at, event));
        }
        let vm = Vm {
            origin: request.origin,
            pool: pool.clone(),
            launched_at: at,
            up_at: (!never && !is_bad).then_some(up_at),
            stopped_at: None,
            ended: None,
            is_announced: false,
            runs: BTreeMap::new(),
            remains: Remains::default(),
        };
        self.vms.insert(number, vm);
        number
    }

    fn draw_reclaim(&mut self, number: InstanceNumber, at: Timestamp) {
        let Some(taken_at) = self.dice.hazard(at, self.model.reclaims_per_mille_hour) else {
            return;
        };
        if self.dice.below(100) < u64::from(self.faults.notices_percent) {
            let notice_at = (taken_at - NOTICE).max(at);
            self.later.push((notice_at, Event::Notice(number)));
        }
        let event = Event::Taken(number, Taken::Reclaimed);
        self.later.push((taken_at, event));
    }

    /// When something is up that takes so long from its decision on, and is answered at `at`.
    fn up_at(at: Timestamp, takes: Span) -> Timestamp {
        /// Nothing is up before it has answered.
        const LEAST: Span = Span::from_secs(1);
        (at + takes - ANSWERED).max(at + LEAST)
    }

    /// Begins to stop an instance; when it will be asleep.
    pub(super) fn sleep(&mut self, number: InstanceNumber, at: Timestamp) -> Reply<Timestamp> {
        if self.is_out(at) {
            return Reply::Lost;
        }
        if self.dice.chance(self.faults.not_asleep_per_mille) {
            return Reply::Refused(refusal(ErrorKind::Config, "it cannot be stopped"));
        }
        let takes = self
            .dice
            .around(self.model.sleep, self.model.spread_percent);
        match self.vms.get_mut(&number).filter(|vm| vm.ended.is_none()) {
            Some(vm) => {
                vm.up_at = None;
                Reply::Done(*vm.stopped_at.get_or_insert(at + takes))
            }
            None => Reply::Refused(refusal(ErrorKind::Config, "its instance was ended")),
        }
    }

    /// Begins to start a stopped instance.
    pub(super) fn wake(&mut self, number: InstanceNumber, pool: &Pool, at: Timestamp) -> Reply<()> {
        if self.is_out(at) {
            return Reply::Lost;
        }
        if self.is_dry(pool, at) || self.dice.chance(self.faults.wakes_refused_per_mille) {
            return Reply::Refused(pool_empty(pool));
        }
        if self.quota_left(pool.market) == 0 {
            return Reply::Refused(over_quota(std::slice::from_ref(pool)));
        }
        let takes = self.dice.around(self.model.wake, self.model.spread_percent);
        let up_at = Self::up_at(at, takes);
        let never = self.dice.chance(self.faults.never_ready_per_mille);
        if self.dice.chance(self.faults.wakes_broken_per_mille) {
            return Reply::Refused(refusal(ErrorKind::Config, "its disk is damaged"));
        }
        match self.vms.get_mut(&number).filter(|vm| vm.ended.is_none()) {
            Some(vm) => {
                vm.stopped_at = None;
                vm.pool = pool.clone();
                vm.up_at = (!never).then_some(up_at);
                Reply::Done(())
            }
            None => Reply::Refused(refusal(ErrorKind::Config, "there is no such instance")),
        }
    }

    /// Ends an instance; when it will be gone. None when the request has to be repeated.
    pub(super) fn terminate(&mut self, number: InstanceNumber, at: Timestamp) -> Option<Timestamp> {
        if self.is_out(at) {
            return None;
        }
        let Some(vm) = self.vms.get_mut(&number) else {
            return Some(at);
        };
        if let Some((gone_at, _)) = vm.ended {
            return Some(gone_at);
        }
        if self.dice.chance(self.faults.ends_refused_per_mille) {
            return None;
        }
        let gone_at = at + self.model.end;
        vm.ended = Some((gone_at, None));
        vm.runs.clear();
        Some(gone_at)
    }

    /// An instance is taken from us; whether it was still there.
    pub(super) fn take(&mut self, number: InstanceNumber, why: Taken, at: Timestamp) -> bool {
        let Some(vm) = self.vms.get_mut(&number).filter(|vm| vm.ended.is_none()) else {
            return false;
        };
        vm.ended = Some((at, Some(why)));
        vm.runs.clear();
        true
    }

    /// An instance is to be taken back; whether it is still there.
    pub(super) fn announce(&mut self, number: InstanceNumber) -> bool {
        let Some(vm) = self.vms.get_mut(&number).filter(|vm| vm.ended.is_none()) else {
            return false;
        };
        vm.is_announced = true;
        true
    }

    /// Whether an instance is announced to be taken back.
    pub(super) fn is_announced(&self, number: InstanceNumber) -> bool {
        self.vms.get(&number).is_some_and(|vm| vm.is_announced)
    }

    /// Removes an instance that is proved gone.
    pub(super) fn remove(&mut self, number: InstanceNumber, at: Timestamp) {
        let vm = self.vms.get(&number);
        if vm.is_some_and(|vm| vm.ended.is_some_and(|(gone_at, _)| gone_at <= at)) {
            self.vms.remove(&number);
        }
    }

    /// When an instance can be logged in to; none if it never can, or is ended or stopped.
    pub(super) fn usable_at(&self, number: InstanceNumber) -> Option<Timestamp> {
        let vm = self.vms.get(&number)?;
        vm.up_at.filter(|_| vm.ended.is_none())
    }

    /// Whether an instance is asleep.
    pub(super) fn asleep_at(&self, number: InstanceNumber) -> Option<Timestamp> {
        let vm = self.vms.get(&number)?;
        vm.stopped_at.filter(|_| vm.ended.is_none())
    }

    /// The instance as a listing shows it, if it has ended without our doing.
    pub(super) fn ended(&self, number: InstanceNumber, at: Timestamp) -> Option<Instance> {
        let vm = self.vms.get(&number).filter(|vm| vm.ended.is_some())?;
        Some(instance(number, vm, at))
    }

    /// What was launched for a machine by itself.
    pub(super) fn find(&self, origin: Origin) -> Option<InstanceNumber> {
        let of_it = |(_, vm): &(&InstanceNumber, &Vm)| vm.origin == origin;
        self.vms.iter().find(of_it).map(|(number, _)| *number)
    }

    /// Instances that are not gone.
    pub(super) fn left(&self, at: Timestamp) -> Vec<InstanceNumber> {
        let is_left = |vm: &Vm| vm.ended.is_none_or(|(gone_at, _)| gone_at > at);
        let left = self.vms.iter().filter(|(_, vm)| is_left(vm));
        left.map(|(number, _)| *number).collect()
    }
}

/// The number in an instance's name.
pub(super) fn number_of(id: &InstanceId) -> InstanceNumber {
    let digits = id.0.strip_prefix("i-").unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// Where every simulated machine listens: nobody connects.
pub(super) const ENDPOINT: Endpoint = Endpoint {
    address: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 22),
};

fn instance(number: InstanceNumber, vm: &Vm, at: Timestamp) -> Instance {
    let why = match vm.ended {
        Some((_, Some(Taken::Reclaimed))) => Some("its provider took it back"),
        Some((_, Some(Taken::Failed))) => Some("its host failed"),
        Some((_, Some(Taken::Unbootable))) => Some("its kernel does not boot"),
        Some((_, None)) | None => None,
    };
    let state = match (vm.ended, vm.stopped_at) {
        (Some((gone_at, _)), _) if gone_at > at => InstanceState::Stopping,
        (Some(_), _) => InstanceState::Terminated,
        (None, Some(asleep_at)) if asleep_at > at => InstanceState::FallingAsleep,
        (None, Some(_)) => InstanceState::Asleep,
        (None, None) => InstanceState::Running,
    };
    Instance {
        id: InstanceId(format!("i-{number}")),
        origin: vm.origin,
        state,
        endpoints: vec![ENDPOINT],
        launched_at: vm.launched_at,
        pool: Some(vm.pool.clone()),
        why: why.map(str::to_owned),
        is_reclaimed: matches!(vm.ended, Some((_, Some(Taken::Reclaimed)))),
    }
}

fn over_quota(pools: &[Pool]) -> ProviderError {
    ProviderError {
        operation: "launch",
        kind: ErrorKind::Quota,
        message: "you have as many instances as you may".to_owned(),
        pools: pools.to_vec(),
    }
}

fn pool_empty(pool: &Pool) -> ProviderError {
    ProviderError {
        operation: "launch",
        kind: ErrorKind::PoolEmpty,
        message: format!("no capacity for {pool}"),
        pools: vec![pool.clone()],
    }
}

fn refusal(kind: ErrorKind, message: &str) -> ProviderError {
    ProviderError {
        operation: "change an instance",
        kind,
        message: message.to_owned(),
        pools: Vec::new(),
    }
}
