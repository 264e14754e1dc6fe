//! What the engine knows: everything that is not over, in memory, with the planner's snapshot kept
//! in step. Changed only through a [`super::draft::Draft`], which records each change for the store.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::matching;
use crate::model::{
    Attempt, AttemptId, Build, BuildId, BuildResult, BuildSpec, BuildState, IdleTimeout, Image,
    ImageState, Launch, LaunchId, Machine, MachineId, MachineState, Market, MarketChoice,
    PipelineId, Policy, PolicySpec, Rate, Requirements, Reuse, SleepKind, Span,
};
use crate::planner::{
    Candidate, Class, ClassId, ImageIndex, ImageView, MachineView, Past, Phase, ProjectIndex,
    ProjectView, QueueKey, Snapshot,
};
use crate::policy::{self, DEFAULT_IDLE_TIMEOUT, Terms};
use crate::store::OpenWork;

use super::capacity::Capacity;
use super::health::Health;
use super::in_use::meter_of;
use super::learn::{Learning, Surer};
use super::sharing::slots;
use super::spend::Spend;
use super::superseded::Lines;
use super::waits::Waits;

/// Most machines at once unless a policy says otherwise: a first bill that nobody need fear.
pub const DEFAULT_MAX_MACHINES: u32 = 10;
/// What builds have in common that can run on the same machines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ClassKey {
    requires: Requirements,
    image: Option<String>,
    fresh: bool,
    on_demand: Option<Surer>,
    project: String,
    priority: i32,
    /// Policies that speak of them for what they are: their labels or priority.
    policies: Vec<String>,
    /// How long each may take, while a budget asks.
    timeout: Span,
    /// Their pipeline, while a budget asks.
    pipeline: Option<PipelineId>,
}

/// Everything that is not over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    pub(crate) builds: BTreeMap<BuildId, Build>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(crate) machines: BTreeMap<MachineId, Machine>,
    /// Builds that wait for a build.
    pub(crate) dependents: BTreeMap<BuildId, Vec<BuildId>>,
    /// How many of the builds that a build needs have not succeeded yet.
    unmet: BTreeMap<BuildId, usize>,
    /// Image versions that are current or have a machine.
    pub(crate) images: BTreeMap<(String, u32), Arc<Image>>,
    pub(crate) policies: BTreeMap<String, Policy>,
    pub(crate) snapshot: Snapshot,
    classes: BTreeMap<ClassKey, ClassId>,
    pub(super) indices: BTreeMap<String, ImageIndex>,
    projects: BTreeMap<String, ProjectIndex>,
    /// What limits and budgets count.
    pub(crate) spend: Spend,
    /// Where images can be launched.
    pub(crate) capacity: Capacity,
    /// Launches whose outcome is not known.
    pub(crate) launches: BTreeMap<LaunchId, Launch>,
    /// Machines that their provider is about to take back, and how we know.
    pub(crate) interrupted: BTreeMap<MachineId, String>,
    /// How image versions have fared.
    pub(crate) health: Health,
    /// Open pipelines by what a newer one of them supersedes.
    pub(crate) lines: Lines,
    /// What policies say of reuse, as far as it was asked.
    pub(super) reuse: BTreeMap<(ImageIndex, Option<ProjectIndex>), Reuse>,
    /// What was learnt, and what follows from it.
    pub(crate) learning: Learning,
    /// What queued builds have waited for.
    pub(super) waits: Waits,
}

impl Books {
    /// The books as the store has them.
    pub(crate) fn load(open: OpenWork) -> Self {
        let mut books = Self::default();
        books.spend.has_past = true;
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
        for attempt in open.attempts {
            books.attempts.insert(attempt.id, attempt);
        }
        for build in open.builds {
            let met = |need: &&BuildId| open.needed.get(need) == Some(&BuildResult::Success);
            let unmet = build.spec.needs.len() - build.spec.needs.iter().filter(met).count();
            books.wait_for(&build, unmet);
            books.put_build(build);
        }
        // Whether they have room depends on their builds.
        for machine in open.machines {
            books.put_machine(machine);
        }
        books
    }

    /// The current version of an image.
    pub(crate) fn image(&self, name: &str) -> Option<&Arc<Image>> {
        let versions = (name.to_owned(), 0)..=(name.to_owned(), u32::MAX);
        self.images
            .range(versions)
            .map(|(_, image)| image)
            .find(|image| image.state == ImageState::Active)
    }

    /// The version that a changed image of this name gets.
    pub(crate) fn next_image_version(&self, name: &str) -> u32 {
        let versions = (name.to_owned(), 0)..=(name.to_owned(), u32::MAX);
        self.images
            .range(versions)
            .next_back()
            .map_or(1, |((_, version), _)| version + 1)
    }

    /// All current images, by name.
    pub(crate) fn current_images(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.images
            .values()
            .filter(|image| image.state == ImageState::Active)
    }

    /// The image at a planner's index.
    pub(crate) fn image_at(&self, index: ImageIndex) -> Option<&Arc<Image>> {
        self.image(&self.snapshot.image(index)?.name)
    }

    /// Notes that a build waits for `unmet` others.
    pub(crate) fn wait_for(&mut self, build: &Build, unmet: usize) {
        if unmet == 0 {
            return;
        }
        self.unmet.insert(build.id, unmet);
        for need in &build.spec.needs {
            self.dependents.entry(*need).or_default().push(build.id);
        }
    }

    /// Notes that one build that `id` waits for has succeeded; true when it was the last.
    pub(crate) fn one_need_met(&mut self, id: BuildId) -> bool {
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
    pub(crate) fn put_build(&mut self, build: Build) {
        self.track_bound(&build);
        let queued = self.snapshot.queued.get(&build.id);
        let stood = queued.map(|queued| (queued.class, queued.key));
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
            self.snapshot.settle(build.id);
        } else {
            let id = build.id;
            self.builds.insert(id, build);
            self.track_coming(id, stood);
        }
    }

    /// Keeps in step which builds wait for a launch, where they `stood` in the queue: what is thought
    /// of them now may differ, and would have them move back and forth. One whose machine is woken is
    /// not among them: it would leave a machine that was better left asleep.
    fn track_coming(&mut self, id: BuildId, stood: Option<(ClassId, QueueKey)>) {
        let Some(build) = self.builds.get(&id) else {
            return;
        };
        let machine = match &build.state {
            BuildState::Bound { machine, .. } => self.machines.get(machine),
            BuildState::Waiting
            | BuildState::Queued { .. }
            | BuildState::Running { .. }
            | BuildState::Finished { .. } => None,
        };
        let is_launched = |machine: &Machine| {
            matches!(
                machine.state,
                MachineState::Intended { .. } | MachineState::Booting { .. }
            )
        };
        if !machine.is_some_and(is_launched) {
            self.snapshot.settle(id);
        } else if !self.snapshot.coming.contains_key(&id) {
            // Else as it was before this attempt.
            let mut build = build.clone();
            build.attempts = build.attempts.saturating_sub(1);
            let (class, key) = match stood {
                Some(stood) => stood,
                None => (self.class_of(&build), queue_key(&build)),
            };
            self.snapshot.expect(class, key);
        }
    }

    /// Stores a machine's new value and keeps the planner's view in step.
    pub(crate) fn put_machine(&mut self, machine: Machine) {
        if matches!(machine.state, MachineState::Gone { .. }) {
            self.count_gone(&machine);
            self.snapshot.machines.remove(&machine.id);
            self.snapshot.idle.remove(&machine.id);
            self.interrupted.remove(&machine.id);
            self.machines.remove(&machine.id);
            return;
        }
        let view = self.machine_view(&machine);
        self.snapshot.machines.insert(machine.id, view);
        self.note_idle(&machine);
        let claims = machine.state.claims().to_vec();
        self.machines.insert(machine.id, machine);
        for (build, _) in claims {
            self.track_coming(build, None);
        }
    }

    /// Recomputes what depends on images and policies.
    pub(crate) fn catalogue_changed(&mut self) {
        self.reuse.clear();
        let names: BTreeSet<String> = self.images.keys().map(|(name, _)| name.clone()).collect();
        for name in names {
            let index = self.index_of(&name);
            let version = self.image(&name).map(|image| image.version);
            let terms = self.terms(&name);
            let sleep = self.sleep_of(&name, terms.sleep);
            let slots = slots(self.image(&name).map(AsRef::as_ref), &terms);
            let boot_timeout = self.boot_timeout_of(&name);
            if let Some(view) = self.snapshot.images.get_mut(index.0) {
                view.version = version;
                view.idle_timeout = idle_timeout(&terms);
                view.max_lifetime = terms.max_lifetime;
                view.max_builds = terms.max_builds;
                view.slots = slots;
                view.market = terms.market;
                view.sleep = sleep;
                view.max_asleep = terms.max_asleep;
                view.asleep_timeout = terms.asleep_timeout;
                view.rest_at = terms.rest_at;
                view.boot_timeout = boot_timeout;
            }
            self.refresh_capacity(index);
        }
        self.refresh_limits(self.spend.seen);
        self.forget_terms();
        let machines: Vec<Machine> = self.machines.values().cloned().collect();
        for machine in machines {
            let view = self.machine_view(&machine);
            self.snapshot.machines.insert(machine.id, view);
        }
        // What policies say of a class is told by its builds.
        self.forget_empty_classes();
        let classes: Vec<(ClassKey, ClassId)> = self
            .classes
            .iter()
            .map(|(key, id)| (key.clone(), *id))
            .collect();
        for (key, id) in classes {
            let candidates = self.candidates(&key);
            let reuse = self.reuse_of_class(id, &candidates);
            let rules = self.rules_named(&key.policies);
            if let Some(class) = self.snapshot.classes.get_mut(&id) {
                class.rules = rules;
                class.candidates = candidates.into();
                class.reuse = reuse;
            }
        }
    }

    /// What policies say about the machines of an image, whoever's builds they run.
    pub(crate) fn terms(&self, image: &str) -> Terms {
        let provider = self.image(image).map(|image| image.spec.provider.as_str());
        let subject = policy::Subject {
            image: Some(image),
            provider,
            ..policy::Subject::default()
        };
        policy::effective(self.policies.values(), &subject).terms
    }

    /// What becomes of an image's idle machines: what cannot sleep is ended.
    pub(super) fn sleep_of(&self, image: &str, wanted: SleepKind) -> SleepKind {
        let provider = self.image(image).map(|image| image.spec.provider.as_str());
        let can = provider.is_some_and(|provider| self.capacity.skills(provider).sleep);
        if can { wanted } else { SleepKind::Never }
    }

    /// The planner's index of an image, given out at first sight.
    pub(crate) fn index_of(&mut self, name: &str) -> ImageIndex {
        if let Some(index) = self.indices.get(name) {
            return *index;
        }
        let index = ImageIndex(self.snapshot.images.len());
        let terms = self.terms(name);
        self.snapshot.images.push(ImageView {
            name: name.to_owned(),
            version: None,
            idle_timeout: idle_timeout(&terms),
            max_lifetime: terms.max_lifetime,
            max_builds: terms.max_builds,
            slots: slots(self.image(name).map(AsRef::as_ref), &terms),
            paused: None,
            offerings: Vec::new(),
            market: terms.market,
            sleep: SleepKind::Never,
            max_asleep: terms.max_asleep,
            asleep_timeout: terms.asleep_timeout,
            rest_at: terms.rest_at,
            boot_timeout: self.boot_timeout_of(name),
        });
        self.indices.insert(name.to_owned(), index);
        index
    }

    fn class_of(&mut self, build: &Build) -> ClassId {
        let spec = &build.spec;
        let mut key = ClassKey {
            requires: spec.requires.clone(),
            image: spec.image.clone(),
            fresh: spec.fresh,
            on_demand: is_last_retry(build).then_some(Surer::LastRetry),
            project: spec.project.clone(),
            priority: spec.priority,
            policies: self.policies_of(spec),
            timeout: if self.asks_timeout() {
                spec.timeout
            } else {
                Span::ZERO
            },
            pipeline: Some(spec.pipeline).filter(|_| self.asks_pipeline()),
        };
        let known = self.classes.get(&key).copied();
        if key.on_demand.is_none() && self.may_need_surer() {
            let class = known.and_then(|id| self.snapshot.classes.get(&id));
            let first = match class {
                Some(class) => class.candidates.first().copied(),
                None => self.candidates(&key).first().copied(),
            };
            key.on_demand = first.and_then(|first| self.needs_surer(build, first.image));
        }
        if let Some(id) = self.classes.get(&key) {
            return *id;
        }
        self.forget_unused_classes();
        let id = ClassId(self.classes.values().map(|id| id.0 + 1).max().unwrap_or(0));
        let candidates = self.candidates(&key);
        let class = Class {
            reuse: self.reuse_of_build(build, &candidates),
            requires: describe(&key),
            fresh: key.fresh,
            on_demand: key.on_demand.is_some(),
            project: self.project_of(&key.project),
            priority: key.priority,
            rules: self.rules_named(&key.policies),
            timeout: key.timeout,
            pipeline: key.pipeline,
            candidates: candidates.into(),
            ..Class::default()
        };
        self.snapshot.classes.insert(id, class);
        self.classes.insert(key, id);
        id
    }

    /// Whether any policy keeps builds from spare capacity.
    fn may_need_surer(&self) -> bool {
        let mut specs = self.policies.values().map(|policy| &policy.spec);
        specs.any(|spec| spec.on_demand.is_some())
    }

    /// The policies that speak of a build for its labels or priority, by name.
    pub(super) fn policies_of(&self, spec: &BuildSpec) -> Vec<String> {
        let subject = policy::Subject {
            project: Some(&spec.project),
            labels: Some(&spec.labels),
            priority: Some(spec.priority),
            ..policy::Subject::default()
        };
        let by_build = |policy: &&Policy| {
            let spec = &policy.spec;
            let is_by_build = !spec.labels.is_empty() || spec.priority.is_some();
            // Which image it will have is not known yet.
            let of_builds = PolicySpec {
                images: Vec::new(),
                providers: Vec::new(),
                ..spec.clone()
            };
            is_by_build && policy::speaks_of(&of_builds, &subject)
        };
        let policies = self.policies.values().filter(by_build);
        policies.map(|policy| policy.name.clone()).collect()
    }

    /// The planner's index of a project, given out at first sight.
    pub(crate) fn project_of(&mut self, name: &str) -> ProjectIndex {
        if let Some(index) = self.projects.get(name) {
            return *index;
        }
        let index = ProjectIndex(self.snapshot.projects.len());
        self.snapshot.projects.push(ProjectView {
            name: name.to_owned(),
            weight: self.weight_of(name),
        });
        self.projects.insert(name.to_owned(), index);
        self.new_project(name, index);
        index
    }

    /// The share of a project beside others.
    pub(super) fn weight_of(&self, project: &str) -> u32 {
        let subject = policy::Subject {
            project: Some(project),
            ..policy::Subject::default()
        };
        policy::effective(self.policies.values(), &subject)
            .terms
            .weight
    }

    /// The planner's index of an image that was seen before.
    pub(super) fn known_image(&self, name: &str) -> Option<ImageIndex> {
        self.indices.get(name).copied()
    }

    /// Classes without builds are kept for the next build of their kind, up to a bound.
    fn forget_unused_classes(&mut self) {
        /// A matrix of a thousand distinct requirements is large; what is beyond is made anew.
        const KEPT_CLASSES: usize = 1_024;
        if self.classes.len() >= KEPT_CLASSES {
            self.forget_empty_classes();
        }
    }

    fn forget_empty_classes(&mut self) {
        self.snapshot.classes.retain(|_, class| {
            !class.ready.is_empty() || !class.later.is_empty() || !class.coming.is_empty()
        });
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
    pub(crate) fn price_of(&self, image: &str) -> Option<Rate> {
        self.cheapest(*self.indices.get(image)?)
    }

    /// Price of the cheapest offering that an image's policy allows.
    pub(super) fn cheapest(&self, image: ImageIndex) -> Option<Rate> {
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
        let image = self.index_of(&machine.image);
        let project = machine.project.as_ref().map(|name| self.project_of(name));
        let slots = self.snapshot.image(image).map_or(1, |image| image.slots);
        let claims = machine.state.claims().len();
        MachineView {
            image,
            version: machine.image_version,
            price: machine.shape.price_usd_micro_per_hour,
            market: machine.market,
            offering,
            is_interrupted: self.interrupted.contains_key(&machine.id),
            project,
            past: Past {
                // While others run on it, what is not proved yet of one holds up nobody: its end is
                // not theirs, and the next one would have shared the machine with it as well.
                is_tidying: claims == 0 && !machine.record.unproved.is_empty(),
                left: machine.record.left,
                usage: machine.record.usage,
                reuse: machine.record.reuse.stricter(self.reuse_on(image, project)),
                is_mixed: machine.record.is_mixed,
            },
            phase: phase_of(machine),
            created_at: machine.created_at,
            builds_done: machine.builds_done,
            claims: u32::try_from(claims).unwrap_or(u32::MAX),
            free: self.room_on(machine, slots),
            held_until: machine.hold.as_ref().map(|hold| hold.until),
            meter: meter_of(machine),
        }
    }

    /// How old machines of an image may become before they take no more builds, sleep included.
    pub(crate) fn lifetime_of(&self, image: &str) -> Span {
        let terms = self.terms(image);
        let asleep = match terms.sleep {
            SleepKind::Never => Span::ZERO,
            SleepKind::Stop | SleepKind::Hibernate => terms.asleep_timeout,
        };
        Span::from_micros(terms.max_lifetime.micros() + asleep.micros())
    }

    /// Notes that a machine is about to be taken back: it gets no more builds.
    pub(crate) fn interrupt(&mut self, id: MachineId, why: String) {
        self.interrupted.insert(id, why);
        if let Some(view) = self.snapshot.machines.get_mut(&id) {
            view.is_interrupted = true;
        }
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
    if let Some(why) = key.on_demand {
        words = format!("{words}, {}", why.words());
    }
    words
}

/// How long machines may stand idle, as far as that is a plain length of time.
const fn idle_timeout(terms: &Terms) -> Span {
    match terms.idle_timeout {
        IdleTimeout::After(span) => span,
        IdleTimeout::Auto => DEFAULT_IDLE_TIMEOUT,
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
        MachineState::Intended { claims }
        | MachineState::Booting { claims, .. }
        | MachineState::Waking { claims, .. } => Phase::Coming {
            claimed: !claims.is_empty(),
        },
        MachineState::Idle { .. } => Phase::Idle(machine.since),
        MachineState::Busy { .. } => Phase::Busy,
        MachineState::FallingAsleep { .. } => Phase::FallingAsleep,
        MachineState::Asleep { .. } => Phase::Asleep(machine.since),
        MachineState::Draining { .. } | MachineState::Gone { .. } => Phase::Ending,
    }
}
