//! The model: every instance there ever was, and the troubles to come.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{InstanceId, MachineId, Span, Timestamp};
use crate::provider::{ErrorKind, Instance, LaunchRequest, Listing, ProviderError};

use super::instance::{End, Host, Life, Vm};
use super::trouble::{Boot, LaunchTrouble, ListTrouble};

/// How the cloud behaves when nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temper {
    /// From a launch to an answer of the SSH server.
    pub boot: Span,
    /// From the wish to end an instance to its end.
    pub stop: Span,
    /// For so long a listing does not show a fresh instance.
    pub listing_lag: Span,
    /// For so long listings show an instance that has ended.
    pub shown_after_end: Span,
}

impl Default for Temper {
    /// A fast, honest cloud.
    fn default() -> Self {
        Self {
            boot: Span::from_secs(5),
            stop: Span::from_secs(2),
            listing_lag: Span::from_secs(1),
            shown_after_end: Span::from_secs(60),
        }
    }
}

/// Reads the time.
type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A cloud. Clones are the same cloud.
#[derive(Clone)]
pub struct Cloud {
    now: Now,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    temper: Temper,
    vms: Vec<Vm>,
    boots: BTreeMap<String, VecDeque<Boot>>,
    launches: VecDeque<LaunchTrouble>,
    listings: VecDeque<ListTrouble>,
    launch_calls: u64,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Cloud {
    /// An empty cloud on whose walls hangs the clock `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            now: Arc::new(now),
            state: Arc::default(),
        }
    }

    /// Changes how the cloud behaves from now on.
    pub fn set_temper(&self, temper: Temper) {
        self.state().temper = temper;
    }

    /// The next launch calls meet these troubles, one each; those after them meet none.
    pub fn trouble_launches(&self, troubles: impl IntoIterator<Item = LaunchTrouble>) {
        self.state().launches.extend(troubles);
    }

    /// The next listings meet these troubles, one each; those after them meet none.
    pub fn trouble_listings(&self, troubles: impl IntoIterator<Item = ListTrouble>) {
        self.state().listings.extend(troubles);
    }

    /// Forgets all troubles that have not happened yet.
    pub fn calm(&self) {
        let mut state = self.state();
        state.launches.clear();
        state.listings.clear();
        state.boots.clear();
    }

    /// The next instances of an image come up in these ways, one each.
    pub fn boot_next(&self, image: &str, boots: impl IntoIterator<Item = Boot>) {
        let mut state = self.state();
        state
            .boots
            .entry(image.to_owned())
            .or_default()
            .extend(boots);
    }

    /// Takes an instance away without a trace; whether there was one.
    pub fn vanish(&self, machine: MachineId) -> bool {
        let now = self.now();
        self.change(machine, |vm| vm.end = Some(End::without_trace(now)))
    }

    /// Boots an instance again, which takes `span`; whether there was one.
    pub fn reboot(&self, machine: MachineId, span: Span) -> bool {
        let now = self.now();
        self.change(machine, |vm| {
            vm.boot += 1;
            vm.up_at = Some(now + span);
        })
    }

    /// Launches an instance that no book knows of.
    pub fn plant(&self, request: &LaunchRequest) -> InstanceId {
        let now = self.now();
        self.state().insert(request, now).id.clone()
    }

    /// What answers at an address.
    pub fn host(&self, address: SocketAddr) -> Option<Host> {
        let now = self.now();
        let state = self.state();
        let vm = state.vms.iter().find(|vm| vm.address == address)?;
        vm.host(now)
    }

    /// Extends the lease of what answers at an address.
    pub fn extend_lease(&self, address: SocketAddr, lease: Span) {
        let now = self.now();
        let mut state = self.state();
        let found = state.vms.iter_mut().find(|vm| vm.address == address);
        if let Some(vm) = found.filter(|vm| vm.host(now).is_some()) {
            vm.lease_until = now + lease;
        }
    }

    /// Every instance there ever was, in the order of their launches.
    pub fn lives(&self) -> Vec<Life> {
        let now = self.now();
        let state = self.state();
        state.vms.iter().filter_map(|vm| vm.life(now)).collect()
    }

    /// Instances that are not gone.
    pub fn alive(&self) -> Vec<Life> {
        let mut lives = self.lives();
        lives.retain(|life| life.to.is_none());
        lives
    }

    /// Where an instance that is not gone listens.
    pub fn address(&self, machine: MachineId) -> Option<SocketAddr> {
        let now = self.now();
        let state = self.state();
        let vm = state.vms.iter().find(|vm| vm.machine == machine)?;
        (now < vm.ending().gone_at).then_some(vm.address)
    }

    /// How often a launch was asked for.
    pub fn launch_calls(&self) -> u64 {
        self.state().launch_calls
    }

    /// Answers a launch call.
    pub(super) fn launch(&self, request: &LaunchRequest) -> Result<Instance, ProviderError> {
        let now = self.now();
        let mut state = self.state();
        state.launch_calls += 1;
        match state.launches.pop_front() {
            None => Ok(state.insert(request, now).as_instance(now)),
            Some(LaunchTrouble::Refused(kind)) => Err(refused("launch an instance", kind)),
            Some(LaunchTrouble::LostBefore) => Err(lost("launch an instance")),
            Some(LaunchTrouble::LostAfter) => {
                state.insert(request, now);
                Err(lost("launch an instance"))
            }
            Some(LaunchTrouble::Late(span)) => {
                state.insert(request, now + span);
                Err(lost("launch an instance"))
            }
        }
    }

    /// Answers a listing.
    pub(super) fn list(&self) -> Result<Listing, ProviderError> {
        let now = self.now();
        let mut state = self.state();
        let lag = state.temper.listing_lag;
        let shown = state.vms.iter().filter_map(|vm| vm.shown(now, lag));
        let mut instances: Vec<Instance> = shown.collect();
        let mut complete = true;
        match state.listings.pop_front() {
            None => {}
            Some(ListTrouble::Failed(kind)) => return Err(refused("list instances", kind)),
            Some(ListTrouble::Incomplete(kept)) => {
                instances.truncate(kept);
                complete = false;
            }
        }
        Ok(Listing {
            complete,
            instances,
        })
    }

    /// Begins the end of an instance; harmless for one that has ended or never was.
    pub(super) fn terminate(&self, id: &InstanceId) {
        let now = self.now();
        let mut state = self.state();
        let temper = state.temper;
        let found = state.vms.iter_mut().find(|vm| vm.id == *id);
        if let Some(vm) = found.filter(|vm| now < vm.ending().asked_at) {
            let gone_at = now + temper.stop;
            vm.end = Some(End {
                asked_at: now,
                gone_at,
                shown_until: gone_at + temper.shown_after_end,
            });
        }
    }

    fn change(&self, machine: MachineId, change: impl FnOnce(&mut Vm)) -> bool {
        let now = self.now();
        let mut state = self.state();
        let found = state.vms.iter_mut().find(|vm| vm.machine == machine);
        let Some(vm) = found.filter(|vm| now >= vm.launched_at && now < vm.ending().gone_at) else {
            return false;
        };
        change(vm);
        true
    }

    fn now(&self) -> Timestamp {
        (self.now)()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The instance of a request: the one that there is, or a new one. A call that is repeated
    /// brings a late launch about at once.
    fn insert(&mut self, request: &LaunchRequest, at: Timestamp) -> &Vm {
        let known = self.vms.iter().position(|vm| vm.machine == request.machine);
        let place = known.unwrap_or(self.vms.len());
        let is_early = self.vms.get(place).is_none_or(|vm| at < vm.launched_at);
        if is_early {
            let vm = self.vm(request, place, at);
            self.vms
                .splice(place..(place + 1).min(self.vms.len()), [vm]);
        }
        #[expect(
            clippy::indexing_slicing,
            reason = "the place was just looked up or filled"
        )]
        &self.vms[place]
    }

    fn vm(&mut self, request: &LaunchRequest, place: usize, at: Timestamp) -> Vm {
        let next = self.boots.get_mut(&request.image.name);
        let boot = next.and_then(VecDeque::pop_front);
        let boot = boot.unwrap_or(Boot::After(self.temper.boot));
        // TEST-NET and beyond: nothing real is ever named.
        let number = u32::try_from(place).unwrap_or(u32::MAX).wrapping_add(1);
        let address = Ipv4Addr::from_bits(0xC000_0200_u32.wrapping_add(number));
        let id = InstanceId(format!("i-{number:08x}"));
        Vm::new(request, (id, SocketAddr::from((address, 22))), boot, at)
    }
}

fn refused(operation: &'static str, kind: ErrorKind) -> ProviderError {
    ProviderError {
        operation,
        kind,
        message: format!("the simulated cloud refuses: {kind:?}"),
        pools: Vec::new(),
    }
}

fn lost(operation: &'static str) -> ProviderError {
    ProviderError {
        operation,
        kind: ErrorKind::Unknown,
        message: "no answer".to_owned(),
        pools: Vec::new(),
    }
}
