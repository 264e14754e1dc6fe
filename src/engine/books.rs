//! What the engine knows: everything that is not over, in memory, with the planner's snapshot kept
//! in step. Changed only through a [`super::draft::Draft`], which records each change for the store.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::matching;
use crate::model::{
    Attempt, AttemptId, Build, BuildId, BuildResult, BuildState, Image, ImageState, Launch,
    LaunchId, Machine, MachineId, MachineState, Market, MarketChoice, Policy, PolicySpec, Rate,
    Requirements, SleepKind, Span,
};
use crate::planner::{
    Candidate, Class, ClassId, ImageIndex, ImageView, Limit, MachineView, Phase, QueueKey, Snapshot,
};
use crate::store::OpenWork;

use super::capacity::Capacity;

/// Most machines at once unless a policy says otherwise: a first bill that nobody need fear.
pub const DEFAULT_MAX_MACHINES: u32 = 10;
/// Idle time unless a policy says otherwise.
pub const DEFAULT_IDLE_TIMEOUT: Span = Span::from_secs(5 * 60);
/// Lifetime unless a policy says otherwise: a day keeps caches warm and drift small.
pub const DEFAULT_MAX_LIFETIME: Span = Span::from_secs(24 * 3_600);

/// Machines of an image that may be asleep at once unless a policy says otherwise.
pub const DEFAULT_MAX_ASLEEP: u32 = 2;
/// Time asleep unless a policy says otherwise: over a weekend, but not for weeks.
pub const DEFAULT_ASLEEP_TIMEOUT: Span = Span::from_secs(3 * 24 * 3_600);

/// What builds have in common that can run on the same machines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ClassKey {
    requires: Requirements,
    image: Option<String>,
    fresh: bool,
    on_demand: bool,
}

/// Everything that is not over.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) builds: BTreeMap<BuildId, Build>,
    pub(super) attempts: BTreeMap<AttemptId, Attempt>,
    pub(super) machines: BTreeMap<MachineId, Machine>,
    /// Builds that wait for a build.
    pub(super) dependents: BTreeMap<BuildId, Vec<BuildId>>,
    /// How many of the builds that a build needs have not succeeded yet.
    unmet: BTreeMap<BuildId, usize>,
    /// Image versions that are current or have a machine.
    pub(super) images: BTreeMap<(String, u32), Arc<Image>>,
    pub(super) policies: BTreeMap<String, Policy>,
    pub(super) snapshot: Snapshot,
    classes: BTreeMap<ClassKey, ClassId>,
    indices: BTreeMap<String, ImageIndex>,
    /// Where images can be launched.
    pub(super) capacity: Capacity,
    /// Launches whose outcome is not known.
    pub(super) launches: BTreeMap<LaunchId, Launch>,
    /// Machines that their provider is about to take back, and how we know.
    pub(super) interrupted: BTreeMap<MachineId, String>,
}

impl Books {
    /// The books as the store has them.
    pub(super) fn load(open: OpenWork) -> Self {
        let mut books = Self::default();
        for image in open.images {
            books
                .images
                .insert((image.name.clone(), image.version), Arc::new(image));
        }
        books.policies = open
            .policies
            .into_iter()
            .map(|policy| (policy.name.clone(), policy))
            .collect();
        books.catalogue_changed();
        let launches = open.launches.into_iter();
        books.launches = launches.map(|launch| (launch.id, launch)).collect();
        for machine in open.machines {
            books.put_machine(machine);
        }
        for attempt in open.attempts {
            books.attempts.insert(attempt.id, attempt);
        }
        for build in open.builds {
            let met = |need: &&BuildId| open.needed.get(need) == Some(&BuildResult::Success);
            let unmet = build.spec.needs.len() - build.spec.needs.iter().filter(met).count();
            books.wait_for(&build, unmet);
            books.put_build(build);
        }
        books
    }

    /// The current version of an image.
    pub(super) fn image(&self, name: &str) -> Option<&Arc<Image>> {
        let versions = (name.to_owned(), 0)..=(name.to_owned(), u32::MAX);
        self.images
            .range(versions)
            .map(|(_, image)| image)
            .find(|image| image.state == ImageState::Active)
    }

    /// The version that a changed image of this name gets.
    pub(super) fn next_image_version(&self, name: &str) -> u32 {
        let versions = (name.to_owned(), 0)..=(name.to_owned(), u32::MAX);
        self.images
            .range(versions)
            .next_back()
            .map_or(1, |((_, version), _)| version + 1)
    }

    /// All current images, by name.
    pub(super) fn current_images(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.images
            .values()
            .filter(|image| image.state == ImageState::Active)
    }

    /// The image at a planner's index.
    pub(super) fn image_at(&self, index: ImageIndex) -> Option<&Arc<Image>> {
        self.image(&self.snapshot.image(index)?.name)
    }

    /// Notes that a build waits for `unmet` others.
    pub(super) fn wait_for(&mut self, build: &Build, unmet: usize) {
        if unmet == 0 {
            return;
        }
        self.unmet.insert(build.id, unmet);
        for need in &build.spec.needs {
            self.dependents.entry(*need).or_default().push(build.id);
        }
    }

    /// Notes that one build that `id` waits for has succeeded; true when it was the last.
    pub(super) fn one_need_met(&mut self, id: BuildId) -> bool {
        match self.unmet.get_mut(&id) {
            Some(unmet) if *unmet > 1 => {
                *unmet -= 1;
                false
            }
            Some(_) => {
                self.unmet.remove(&id);
                true
            }
            None => false,
        }
    }

    /// Stores a build's new value and keeps the queue in step.
    pub(super) fn put_build(&mut self, build: Build) {
        self.snapshot.dequeue(build.id);
        if let BuildState::Queued { since, not_before } = build.state {
            let class = self.class_of(&build);
            self.snapshot.enqueue(
                class,
                queue_key(&build),
                Some(not_before).filter(|at| *at > since),
            );
            self.snapshot.looking_since.entry(build.id).or_insert(since);
        }
        // One that had a machine has found what it was looking for.
        if !matches!(
            build.state,
            BuildState::Queued { .. } | BuildState::Bound { .. }
        ) {
            self.snapshot.looking_since.remove(&build.id);
        }
        if build.state.is_finished() {
            self.builds.remove(&build.id);
            self.unmet.remove(&build.id);
        } else {
            self.builds.insert(build.id, build);
        }
    }

    /// Stores a machine's new value and keeps the planner's view in step.
    pub(super) fn put_machine(&mut self, machine: Machine) {
        if matches!(machine.state, MachineState::Gone { .. }) {
            self.snapshot.machines.remove(&machine.id);
            self.interrupted.remove(&machine.id);
            self.machines.remove(&machine.id);
            return;
        }
        let view = self.machine_view(&machine);
        self.snapshot.machines.insert(machine.id, view);
        self.machines.insert(machine.id, machine);
    }

    /// Recomputes what depends on images and policies.
    pub(super) fn catalogue_changed(&mut self) {
        let names: BTreeSet<String> = self.images.keys().map(|(name, _)| name.clone()).collect();
        for name in names {
            let index = self.index_of(&name);
            let version = self.image(&name).map(|image| image.version);
            let knobs = Knobs::of(&self.policies, &name);
            let sleep = self.sleep_of(&name, knobs.sleep);
            if let Some(view) = self.snapshot.images.get_mut(index.0) {
                view.version = version;
                view.idle_timeout = knobs.idle_timeout;
                view.max_lifetime = knobs.max_lifetime;
                view.max_builds = knobs.max_builds;
                view.market = knobs.market;
                view.sleep = sleep;
                view.max_asleep = knobs.max_asleep;
                view.asleep_timeout = knobs.asleep_timeout;
            }
            self.refresh_capacity(index);
        }
        self.snapshot.limits = self.limits();
        let machines: Vec<Machine> = self.machines.values().cloned().collect();
        for machine in machines {
            let view = self.machine_view(&machine);
            self.snapshot.machines.insert(machine.id, view);
        }
        let classes: Vec<(ClassKey, ClassId)> = self
            .classes
            .iter()
            .map(|(key, id)| (key.clone(), *id))
            .collect();
        for (key, id) in classes {
            let candidates = self.candidates(&key);
            if let Some(class) = self.snapshot.classes.get_mut(&id) {
                class.candidates = candidates;
            }
        }
    }

    /// What becomes of an image's idle machines: what cannot sleep is ended.
    fn sleep_of(&self, image: &str, wanted: SleepKind) -> SleepKind {
        let provider = self.image(image).map(|image| image.spec.provider.as_str());
        let can = provider.is_some_and(|provider| self.capacity.skills(provider).sleep);
        if can { wanted } else { SleepKind::Never }
    }

    /// The planner's index of an image, given out at first sight.
    pub(super) fn index_of(&mut self, name: &str) -> ImageIndex {
        if let Some(index) = self.indices.get(name) {
            return *index;
        }
        let index = ImageIndex(self.snapshot.images.len());
        let knobs = Knobs::of(&self.policies, name);
        self.snapshot.images.push(ImageView {
            name: name.to_owned(),
            version: None,
            idle_timeout: knobs.idle_timeout,
            max_lifetime: knobs.max_lifetime,
            max_builds: knobs.max_builds,
            paused: None,
            offerings: Vec::new(),
            market: knobs.market,
            sleep: SleepKind::Never,
            max_asleep: knobs.max_asleep,
            asleep_timeout: knobs.asleep_timeout,
        });
        self.indices.insert(name.to_owned(), index);
        index
    }

    fn class_of(&mut self, build: &Build) -> ClassId {
        let spec = &build.spec;
        let key = ClassKey {
            requires: spec.requires.clone(),
            image: spec.image.clone(),
            fresh: spec.fresh,
            on_demand: is_last_retry(build),
        };
        if let Some(id) = self.classes.get(&key) {
            return *id;
        }
        self.forget_unused_classes();
        let id = ClassId(self.classes.values().map(|id| id.0 + 1).max().unwrap_or(0));
        let class = Class {
            requires: describe(&key),
            fresh: key.fresh,
            on_demand: key.on_demand,
            candidates: self.candidates(&key),
            ..Class::default()
        };
        self.snapshot.classes.insert(id, class);
        self.classes.insert(key, id);
        id
    }

    /// Classes without builds are kept for the next build of their kind, up to a bound.
    fn forget_unused_classes(&mut self) {
        /// A matrix of a thousand distinct requirements is large; what is beyond is made anew.
        const KEPT_CLASSES: usize = 1_024;
        if self.classes.len() < KEPT_CLASSES {
            return;
        }
        self.snapshot
            .classes
            .retain(|_, class| !class.ready.is_empty() || !class.later.is_empty());
        let used = &self.snapshot.classes;
        self.classes.retain(|_, id| used.contains_key(id));
    }

    fn candidates(&self, key: &ClassKey) -> Vec<Candidate> {
        let images = self.current_images().map(AsRef::as_ref);
        let matches = matching::match_catalogue(&key.requires, key.image.as_deref(), images);
        let mut candidates: Vec<Candidate> = matches
            .candidates
            .iter()
            .filter_map(|candidate| {
                let image = *self.indices.get(candidate.image)?;
                Some(Candidate {
                    price: self.cheapest(image).unwrap_or(candidate.price),
                    spare: candidate.spare,
                    image,
                })
            })
            .collect();
        candidates.sort_unstable();
        candidates
    }

    /// Price of the cheapest offering of an image that its policy allows, if any is known.
    pub(super) fn price_of(&self, image: &str) -> Option<Rate> {
        self.cheapest(*self.indices.get(image)?)
    }

    /// Price of the cheapest offering that an image's policy allows.
    fn cheapest(&self, image: ImageIndex) -> Option<Rate> {
        let view = self.snapshot.image(image)?;
        let allowed = |market: Market| match view.market {
            MarketChoice::OnDemand => market == Market::OnDemand,
            MarketChoice::Spot => market == Market::Spot,
            MarketChoice::SpotWithFallback => true,
        };
        let offerings = view.offerings.iter().filter(|o| allowed(o.market));
        offerings.map(|offering| offering.price).min()
    }

    fn machine_view(&mut self, machine: &Machine) -> MachineView {
        let key = (machine.image.clone(), machine.image_version);
        let image = self.images.get(&key);
        let offering = image.and_then(|image| self.place_of(image, machine));
        MachineView {
            image: self.index_of(&machine.image),
            version: machine.image_version,
            price: machine.shape.price_usd_micro_per_hour,
            market: machine.market,
            offering,
            is_interrupted: self.interrupted.contains_key(&machine.id),
            phase: phase_of(machine),
            created_at: machine.created_at,
            builds_done: machine.builds_done,
            held_until: machine.hold.as_ref().map(|hold| hold.until),
        }
    }

    /// How old machines of an image may become before they take no more builds, sleep included.
    pub(super) fn lifetime_of(&self, image: &str) -> Span {
        let knobs = Knobs::of(&self.policies, image);
        let asleep = match knobs.sleep {
            SleepKind::Never => Span::ZERO,
            SleepKind::Stop | SleepKind::Hibernate => knobs.asleep_timeout,
        };
        Span::from_micros(knobs.max_lifetime.micros() + asleep.micros())
    }

    /// Notes that a machine is about to be taken back: it gets no more builds.
    pub(super) fn interrupt(&mut self, id: MachineId, why: String) {
        self.interrupted.insert(id, why);
        if let Some(view) = self.snapshot.machines.get_mut(&id) {
            view.is_interrupted = true;
        }
    }

    fn limits(&self) -> Vec<Limit> {
        let of_images = |policy: &Policy| {
            let known = policy
                .spec
                .images
                .iter()
                .filter_map(|name| self.indices.get(name));
            (!policy.spec.images.is_empty()).then(|| known.copied().collect())
        };
        let mut limits: Vec<Limit> = self
            .policies
            .values()
            .filter_map(|policy| {
                let machines = policy.spec.max_machines?;
                Some(Limit {
                    name: policy.name.clone(),
                    images: of_images(policy),
                    machines,
                })
            })
            .collect();
        if limits.iter().all(|limit| limit.images.is_some()) {
            let name = "built-in".to_owned();
            limits.push(Limit {
                name,
                images: None,
                machines: DEFAULT_MAX_MACHINES,
            });
        }
        limits
    }
}

/// What a class needs, in words.
fn describe(key: &ClassKey) -> String {
    let mut words = matching::describe(&key.requires);
    if let Some(image) = &key.image {
        words = format!("{words}, on image {image}");
    }
    if key.fresh {
        words.push_str(", on a fresh machine");
    }
    if key.on_demand {
        words.push_str(", for a last retry");
    }
    words
}

/// What policies say about one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Knobs {
    idle_timeout: Span,
    max_lifetime: Span,
    max_builds: u32,
    market: MarketChoice,
    sleep: SleepKind,
    max_asleep: u32,
    asleep_timeout: Span,
}

impl Knobs {
    /// A policy that names the image, then one that names none, then the built-in value; among
    /// several the first by name.
    fn of(policies: &BTreeMap<String, Policy>, image: &str) -> Self {
        let named = policies
            .values()
            .filter(|p| p.spec.images.iter().any(|name| name == image));
        let general = policies.values().filter(|p| p.spec.images.is_empty());
        let specs: Vec<_> = named.chain(general).map(|policy| &policy.spec).collect();
        let first = |knob: fn(&PolicySpec) -> Option<u32>| specs.iter().find_map(|spec| knob(spec));
        let span = |knob: fn(&PolicySpec) -> Option<Span>| specs.iter().find_map(|spec| knob(spec));
        Self {
            idle_timeout: span(|spec| spec.idle_timeout).unwrap_or(DEFAULT_IDLE_TIMEOUT),
            max_lifetime: span(|spec| spec.max_lifetime).unwrap_or(DEFAULT_MAX_LIFETIME),
            max_builds: first(|spec| spec.max_builds_per_machine).unwrap_or(u32::MAX),
            market: specs
                .iter()
                .find_map(|spec| spec.market)
                .unwrap_or_default(),
            sleep: specs.iter().find_map(|spec| spec.sleep).unwrap_or_default(),
            max_asleep: first(|spec| spec.max_asleep).unwrap_or(DEFAULT_MAX_ASLEEP),
            asleep_timeout: span(|spec| spec.asleep_timeout).unwrap_or(DEFAULT_ASLEEP_TIMEOUT),
        }
    }
}

/// Whether the next attempt of a build is its last one and not its first: what is at stake then is
/// the build.
fn is_last_retry(build: &Build) -> bool {
    let tries = build.attempts.saturating_sub(build.spared);
    tries > 0 && tries + 1 >= build.spec.max_attempts
}

fn queue_key(build: &Build) -> QueueKey {
    QueueKey {
        priority: Reverse(build.spec.priority),
        submitted_at: build.spec.submitted_at,
        build: build.id,
    }
}

const fn phase_of(machine: &Machine) -> Phase {
    match &machine.state {
        MachineState::Intended { claim }
        | MachineState::Booting { claim, .. }
        | MachineState::Waking { claim, .. } => Phase::Coming {
            claimed: claim.is_some(),
        },
        MachineState::Idle { .. } => Phase::Idle(machine.since),
        MachineState::Busy { .. } => Phase::Busy,
        MachineState::FallingAsleep { .. } => Phase::FallingAsleep,
        MachineState::Asleep { .. } => Phase::Asleep(machine.since),
        MachineState::Draining { .. } | MachineState::Gone { .. } => Phase::Ending,
    }
}
