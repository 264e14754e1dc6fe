//! What the cloud sells, pool by pool, and its launches by recorded requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::model::{
    ImageSpec, InstanceId, LaunchId, Market, Offering, Pool, Rate, Secret, Shape, Span, Timestamp,
};
use crate::provider::{
    ErrorKind, LaunchAnswer, LaunchOrder, Origin, PreparedLaunch, ProviderError, Resolution,
};

use super::cloud::{Cloud, State, lost, name_of, refused};
use super::instance::{Birth, Which};
use super::trouble::{Boot, LaunchTrouble};

/// Operation names, as they show in errors.
const RESOLVE: &str = "resolve an image";
const LAUNCH: &str = "launch a fleet";

/// What the cloud sells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// Where.
    pub zones: Vec<String>,
    /// Price of spare capacity in percent of the list price; none when there is none for sale.
    pub spot_percent: Option<u64>,
    /// What a stopped machine costs.
    pub asleep: Rate,
    /// Most machines in one launch.
    pub most: usize,
}

impl Default for Sale {
    fn default() -> Self {
        Self {
            zones: vec!["a".to_owned(), "b".to_owned()],
            spot_percent: Some(50),
            asleep: Rate::from_micros_per_hour(3_600),
            most: 100,
        }
    }
}

/// What fleets and sleep need to remember.
#[derive(Debug, Default)]
pub(super) struct Trade {
    sale: Sale,
    /// Machines that a pool has room for at once; pools that are not here have room for any number.
    slots: BTreeMap<Pool, u32>,
    /// Launches by token.
    sent: BTreeMap<String, Sent>,
    /// What the next wakes, stops and resolutions meet.
    pub(super) wakes: VecDeque<ErrorKind>,
    pub(super) stops: VecDeque<ErrorKind>,
    resolves: VecDeque<ErrorKind>,
    /// How the next instances that are woken come up.
    pub(super) wake_ups: VecDeque<Boot>,
    /// What machines of an image say on their consoles.
    consoles: BTreeMap<String, String>,
    /// What is left of instances that are gone.
    leftovers: Vec<String>,
    /// Instances that are taken back, for whoever listens.
    announced: VecDeque<InstanceId>,
    pub(super) listeners: Arc<Notify>,
}

impl Trade {
    /// Forgets all that is in anybody's way.
    pub(super) fn calm(&mut self) {
        self.slots.clear();
        self.wakes.clear();
        self.stops.clear();
        self.resolves.clear();
        self.wake_ups.clear();
    }

    pub(super) fn announced(&mut self) -> Vec<InstanceId> {
        self.announced.drain(..).collect()
    }
}

/// A launch that came through.
#[derive(Debug)]
struct Sent {
    at: Timestamp,
    request: Request,
    /// Its instances, by place in the history.
    places: Vec<usize>,
    refusals: Vec<ProviderError>,
}

/// A launch request, as it travels and is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    launch: LaunchId,
    count: u32,
    image: String,
    reference: String,
    pools: Vec<Pool>,
    lease: Span,
    host_public: String,
    client_private: Secret,
    expires_at: Timestamp,
}

impl Cloud {
    /// Changes what is for sale.
    pub fn set_sale(&self, sale: Sale) {
        self.state().trade.sale = sale;
    }

    /// Gives a pool room for so many machines at once; what runs is left alone.
    pub fn set_slots(&self, pool: Pool, slots: u32) {
        self.state().trade.slots.insert(pool, slots);
    }

    /// Gives a pool room for any number of machines.
    pub fn open_pool(&self, pool: &Pool) {
        self.state().trade.slots.remove(pool);
    }

    /// The next resolutions are refused for these reasons, one each.
    pub fn trouble_resolves(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.state().trade.resolves.extend(kinds);
    }

    /// What machines of an image say on their consoles.
    pub fn set_console(&self, image: &str, text: &str) {
        let mut state = self.state();
        state
            .trade
            .consoles
            .insert(image.to_owned(), text.to_owned());
    }

    /// Something is left behind, for a sweep to find.
    pub fn leave_behind(&self, thing: &str) {
        self.state().trade.leftovers.push(thing.to_owned());
    }

    /// What was left behind and not swept yet.
    pub fn leftovers(&self) -> Vec<String> {
        self.state().trade.leftovers.clone()
    }

    /// Tells whoever listens that an instance is taken back; whether there is one.
    pub fn announce(&self, which: impl Into<Which>) -> bool {
        let which = which.into();
        let mut state = self.state();
        let Some(id) = state
            .vms
            .iter()
            .find(|vm| vm.is(&which))
            .map(|vm| vm.id.clone())
        else {
            return false;
        };
        state.trade.announced.push_back(id);
        state.trade.listeners.notify_one();
        true
    }

    pub(super) fn most(&self) -> usize {
        self.state().trade.sale.most
    }

    pub(super) fn console(&self, id: &InstanceId) -> Option<String> {
        let state = self.state();
        let vm = state.vms.iter().find(|vm| vm.id == *id)?;
        state.trade.consoles.get(&vm.image).cloned()
    }

    pub(super) fn sweep_leftovers(&self) -> Vec<String> {
        std::mem::take(&mut self.state().trade.leftovers)
    }

    /// Sells every size that an image wishes for or lists, in every zone and on both markets.
    pub(super) fn resolve(&self, spec: &ImageSpec) -> Result<Resolution, ProviderError> {
        let mut state = self.state();
        if let Some(kind) = state.trade.resolves.pop_front() {
            return Err(refused(RESOLVE, kind));
        }
        let shapes = shapes_for(spec)?;
        let sale = &state.trade.sale;
        let mut offerings = Vec::new();
        for shape in shapes {
            for zone in &sale.zones {
                let on_demand = Offering {
                    shape: shape.clone(),
                    zone: zone.clone(),
                    market: Market::OnDemand,
                    asleep: sale.asleep,
                };
                offerings.extend(
                    sale.spot_percent
                        .map(|percent| cheaper(&on_demand, percent)),
                );
                offerings.push(on_demand);
            }
        }
        let reference = spec.reference.as_str().unwrap_or("simulated").to_owned();
        Ok(Resolution {
            description: format!("{reference}, which is simulated"),
            reference,
            offerings,
            prices: "the simulation".to_owned(),
        })
    }

    /// Answers a launch.
    pub(super) fn launch_fleet(
        &self,
        prepared: &PreparedLaunch,
    ) -> Result<LaunchAnswer, ProviderError> {
        let now = self.now();
        let mut state = self.state();
        state.launch_calls += 1;
        let request = read(prepared)?;
        let trouble = state.launches.pop_front();
        match trouble {
            Some(LaunchTrouble::Refused(kind)) => return Err(refused(LAUNCH, kind)),
            Some(LaunchTrouble::LostBefore) => return Err(lost(LAUNCH)),
            None | Some(LaunchTrouble::LostAfter | LaunchTrouble::Late(_)) => {}
        }
        let at = match trouble {
            Some(LaunchTrouble::Late(span)) => now + span,
            None | Some(_) => now,
        };
        let answer = state.send(&prepared.token, request, now, at)?;
        match trouble {
            None => Ok(answer),
            Some(_) => Err(lost(LAUNCH)),
        }
    }
}

impl State {
    /// Brings a launch about at `at`, or finds what it brought about before.
    fn send(
        &mut self,
        token: &str,
        request: Request,
        now: Timestamp,
        at: Timestamp,
    ) -> Result<LaunchAnswer, ProviderError> {
        let memory = self.temper.token_memory;
        self.trade
            .sent
            .retain(|_, sent| now.since(sent.at) < memory);
        let is_known = match self.trade.sent.get(token) {
            Some(sent) if sent.request != request => return Err(mismatch()),
            Some(_) => true,
            None => false,
        };
        if !is_known {
            let (places, refusals) = self.fill(&request, now, at);
            let sent = Sent {
                at: now,
                request,
                places,
                refusals,
            };
            self.trade.sent.insert(token.to_owned(), sent);
        }
        let mut answer = LaunchAnswer::default();
        let Some(sent) = self.trade.sent.get(token) else {
            return Ok(answer);
        };
        for place in &sent.places {
            if let Some(vm) = self.vms.get_mut(*place) {
                vm.not_later_than(at);
                answer.instances.push(vm.as_instance(now));
            }
        }
        answer.refusals.clone_from(&sent.refusals);
        Ok(answer)
    }

    /// Takes machines from pools as long as they have any, the cheapest pool first.
    fn fill(
        &mut self,
        request: &Request,
        now: Timestamp,
        at: Timestamp,
    ) -> (Vec<usize>, Vec<ProviderError>) {
        let mut missing = request.count;
        let (mut places, mut refusals) = (Vec::new(), Vec::new());
        for pool in &request.pools {
            while missing > 0 && self.has_room(pool, now) {
                let place = self.vms.len();
                let birth = Birth {
                    id: name_of(place),
                    address: self.next_address(),
                    origin: Origin::Launch(request.launch),
                    image: request.image.clone(),
                    pool: Some(pool.clone()),
                    lease: request.lease,
                    keys: (request.host_public.clone(), request.client_private.clone()),
                };
                let vm = self.boot(birth, at);
                self.vms.push(vm);
                places.push(place);
                missing -= 1;
            }
            if missing > 0 {
                refusals.push(dry(LAUNCH, pool.clone()));
            }
        }
        (places, refusals)
    }

    /// Whether a pool has room for one more machine.
    pub(super) fn has_room(&self, pool: &Pool, now: Timestamp) -> bool {
        let Some(slots) = self.trade.slots.get(pool) else {
            return true;
        };
        let taken = self.vms.iter().filter(|vm| vm.pool.as_ref() == Some(pool));
        let taken = taken.filter(|vm| vm.takes_capacity(now)).count();
        taken < usize::try_from(*slots).unwrap_or(usize::MAX)
    }
}

/// Writes down an order, with a token that no other order has.
pub(super) fn prepare(order: &LaunchOrder) -> Result<PreparedLaunch, ProviderError> {
    let request = Request {
        launch: order.launch,
        count: order.count,
        image: order.image.name.clone(),
        reference: order.reference.clone(),
        pools: order.offerings.iter().map(Offering::pool).collect(),
        lease: order.lease,
        host_public: order.keys.host_public.clone(),
        client_private: order.keys.client_private.clone(),
        expires_at: order.expires_at,
    };
    let text = serde_json::to_string(&request).map_err(|error| ProviderError {
        operation: "prepare a launch",
        kind: ErrorKind::Config,
        message: error.to_string(),
        pools: Vec::new(),
    })?;
    let hash = Sha256::digest(&text);
    let half = u64::from_be_bytes(*hash.first_chunk().unwrap_or(&[0; 8]));
    Ok(PreparedLaunch {
        token: format!("{}-{half:016x}", order.launch),
        request: Secret::new(text),
    })
}

fn read(prepared: &PreparedLaunch) -> Result<Request, ProviderError> {
    serde_json::from_str(prepared.request.expose()).map_err(|error| ProviderError {
        operation: LAUNCH,
        kind: ErrorKind::Config,
        message: error.to_string(),
        pools: Vec::new(),
    })
}

/// The sizes that an image lists; or of those that the cloud knows, the ones that it wishes for.
fn shapes_for(spec: &ImageSpec) -> Result<Vec<Shape>, ProviderError> {
    let Some(wish) = &spec.wish else {
        return Ok(spec.shapes.clone());
    };
    let within = |range: Option<(u32, u32)>, value: u32| {
        range.is_none_or(|(least, most)| (least..=most).contains(&value))
    };
    let fits = |shape: &Shape| {
        (wish.types.is_empty() || wish.types.contains(&shape.name))
            && within(wish.vcpus, shape.vcpus)
            && within(wish.memory_mib, shape.memory_mib)
            && !wish.exclude.contains(&shape.name)
    };
    let shapes: Vec<Shape> = catalogue().into_iter().filter(fits).collect();
    if shapes.is_empty() {
        return Err(ProviderError {
            operation: RESOLVE,
            kind: ErrorKind::Config,
            message: "no type of the simulated cloud is like this".to_owned(),
            pools: Vec::new(),
        });
    }
    Ok(shapes)
}

/// Sizes with prices that are easy to reckon with: 100 micro-dollars a second and its multiples.
fn catalogue() -> Vec<Shape> {
    let shape = |(name, vcpus, memory_mib, price): (&str, u32, u32, u64)| Shape {
        name: name.to_owned(),
        vcpus,
        memory_mib,
        price_usd_micro_per_hour: Rate::from_micros_per_hour(price),
    };
    let sizes = [
        ("small", 1, 1_024, 360_000),
        ("medium", 2, 4_096, 540_000),
        ("large", 4, 8_192, 720_000),
    ];
    sizes.into_iter().map(shape).collect()
}

fn cheaper(offering: &Offering, percent: u64) -> Offering {
    let mut spot = offering.clone();
    spot.market = Market::Spot;
    let list = offering.shape.price_usd_micro_per_hour.micros_per_hour();
    spot.shape.price_usd_micro_per_hour = Rate::from_micros_per_hour(list * percent / 100);
    spot
}

/// A pool without room.
pub(super) fn dry(operation: &'static str, pool: Pool) -> ProviderError {
    ProviderError {
        operation,
        kind: ErrorKind::PoolEmpty,
        message: format!("no capacity for {pool}"),
        pools: vec![pool],
    }
}

fn mismatch() -> ProviderError {
    ProviderError {
        operation: LAUNCH,
        kind: ErrorKind::Config,
        message: "the token was used for another request".to_owned(),
        pools: Vec::new(),
    }
}
