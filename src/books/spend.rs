//! What limits and budgets count: kept in the planner's snapshot with every change.
//!
//! Money is counted as its entries are written ([`Books::count_entry`]). What was spent before this
//! process began, or before a budget was declared, is read from the store by the engine and handed in
//! ([`Books::know_spent`]); until then such a budget admits nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ledger;
use crate::model::{
    AtMost, Budget, BudgetEach, BudgetNews, BudgetNote, BudgetPart, Build, BuildSpec, BuildState,
    Entry, Machine, MachineState, Money, Period, Policy, PolicySpec, Span, Timestamp,
};
use crate::planner::{
    BoundView, BudgetView, ImageIndex, LAUNCH_WINDOW, LaunchView, Limit, Meter, Part, ProjectIndex,
    Rule, Scope,
};
use crate::policy;
use crate::store::SpentRow;

use super::books::{Books, DEFAULT_MAX_MACHINES};

/// What limits and budgets count, beside what the planner sees.
#[derive(Debug, Default)]
pub(crate) struct Spend {
    /// The budgets of the snapshot, in its order.
    budgets: Vec<Declared>,
    /// Approvals and warnings that may still matter.
    pub(crate) notes: Vec<BudgetNote>,
    /// Launches of the last hour, oldest first.
    launches: Vec<Launched>,
    /// Policies that ask for labels or a priority.
    rules: BTreeMap<String, Rule>,
    /// Entries counted so far: tells whether sums that were read meanwhile are still true.
    pub(crate) counted: u64,
    /// The last moment that anything was written at.
    pub(super) seen: Timestamp,
    /// Whether there is a store that knows what was spent before; else nothing was.
    pub(crate) has_past: bool,
}

/// A launch of the last hour.
#[derive(Debug, Clone)]
pub(crate) struct Launched {
    /// When it was decided.
    pub(crate) at: Timestamp,
    /// Of which image.
    pub(crate) image: String,
    /// For which build, if for one.
    pub(crate) build: Option<Arc<BuildSpec>>,
}

/// A budget with the policy that declares it.
#[derive(Debug, Clone)]
struct Declared {
    policy: String,
    /// What it speaks of.
    selector: Selector,
    budget: Budget,
    /// Since when it has been as it is.
    applied_at: Timestamp,
}

/// What a policy speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Selector(PolicySpec);

impl Selector {
    /// The selecting part of a policy.
    fn of(spec: &PolicySpec) -> Self {
        Self(PolicySpec {
            images: spec.images.clone(),
            projects: spec.projects.clone(),
            providers: spec.providers.clone(),
            labels: spec.labels.clone(),
            priority: spec.priority,
            ..PolicySpec::default()
        })
    }

    fn is_by_build(&self) -> bool {
        !self.0.labels.is_empty() || self.0.priority.is_some()
    }

    /// Whether it may speak of an image's machines.
    fn has_image(&self, name: &str, provider: Option<&str>) -> bool {
        let spec = PolicySpec {
            images: self.0.images.clone(),
            providers: self.0.providers.clone(),
            ..PolicySpec::default()
        };
        let subject = policy::Subject {
            image: Some(name),
            provider,
            ..policy::Subject::default()
        };
        policy::speaks_of(&spec, &subject)
    }

    /// Whether it may speak of a project's builds.
    fn has_project(&self, name: &str) -> bool {
        let spec = PolicySpec {
            projects: self.0.projects.clone(),
            ..PolicySpec::default()
        };
        let subject = policy::Subject {
            project: Some(name),
            ..policy::Subject::default()
        };
        policy::speaks_of(&spec, &subject)
    }

    /// Whether it speaks of what a row of the ledger is for.
    fn covers(&self, row: &SpentRow, provider: Option<&str>) -> bool {
        let subject = policy::Subject {
            project: row.project.as_deref(),
            image: Some(&row.image),
            provider,
            labels: row.build.is_some().then_some(&row.labels),
            priority: row.priority,
        };
        policy::speaks_of(&self.0, &subject)
    }
}

impl Declared {
    /// Whether what was counted for `other` holds for this one, too.
    fn counts_like(&self, other: &Self) -> bool {
        let key = |d: &Self| (d.budget.each, d.budget.per, d.budget.time_zone.clone());
        self.policy == other.policy
            && self.budget.name == other.budget.name
            && self.selector == other.selector
            && key(self) == key(other)
    }

    fn view(&self, scope: Scope, now: Timestamp) -> BudgetView {
        let budget = &self.budget;
        BudgetView {
            policy: self.policy.clone(),
            name: budget.name.clone(),
            scope,
            each: budget.each,
            per: budget.per,
            amount: budget.amount,
            at_limit: budget.at_limit,
            window: ledger::window(budget.per, &budget.time_zone, now),
            spent: BTreeMap::new(),
            approved: BTreeMap::new(),
            carry: None,
            is_known: false,
        }
    }

    /// The window before one, if it leaves anything: not to a budget that did not exist as it is.
    fn before(&self, window: Option<ledger::Window>) -> Option<ledger::Window> {
        let (from, _) = window?;
        let at = Timestamp::from_micros(from.micros() - 1);
        let leaves = self.budget.roll_over > Money::ZERO && self.applied_at < from;
        let before = ledger::window(self.budget.per, &self.budget.time_zone, at)?;
        leaves.then_some(before)
    }
}

impl Books {
    /// Makes limits and budgets of the policies anew, and queues builds anew where that changes what
    /// they have in common.
    pub(crate) fn refresh_limits(&mut self, now: Timestamp) {
        let before = self.kinds();
        let by_build = self
            .policies
            .values()
            .filter(|p| Selector::of(&p.spec).is_by_build());
        let names = by_build.map(|policy| policy.name.clone());
        self.spend.rules = names.zip((0..).map(Rule)).collect();
        self.snapshot.limits = self.limits();
        self.refresh_budgets(now);
        self.refresh_weights();
        if before != self.kinds() {
            self.queue_anew();
        }
        self.refresh_launches(now);
    }

    /// What decides which builds have something in common.
    fn kinds(&self) -> (BTreeMap<String, (Rule, u32)>, bool, bool) {
        let rules = self.spend.rules.iter().map(|(name, rule)| {
            let version = self.policies.get(name).map_or(0, |policy| policy.version);
            (name.clone(), (*rule, version))
        });
        (rules.collect(), self.asks_timeout(), self.asks_pipeline())
    }

    /// Whether a budget looks at how long builds may take.
    pub(super) fn asks_timeout(&self) -> bool {
        !self.snapshot.budgets.is_empty()
    }

    /// Whether a budget looks at pipelines.
    pub(super) fn asks_pipeline(&self) -> bool {
        let each = |budget: &BudgetView| budget.each == BudgetEach::Pipeline;
        self.snapshot.budgets.iter().any(each)
    }

    fn queue_anew(&mut self) {
        let queued: Vec<Build> = self.builds.values().cloned().collect();
        for build in queued {
            self.put_build(build);
        }
    }

    fn refresh_weights(&mut self) {
        let names: Vec<String> = self
            .snapshot
            .projects
            .iter()
            .map(|p| p.name.clone())
            .collect();
        for (place, name) in names.iter().enumerate() {
            let weight = self.weight_of(name);
            if let Some(view) = self.snapshot.projects.get_mut(place) {
                view.weight = weight;
            }
        }
    }

    /// The rules of a build.
    pub(super) fn rules_of(&self, spec: &BuildSpec) -> Vec<Rule> {
        let names = self.policies_of(spec);
        self.rules_named(&names)
    }

    /// The rules of these names, of which there may be fewer than when they were noted.
    pub(super) fn rules_named(&self, names: &[String]) -> Vec<Rule> {
        let rules = names.iter().filter_map(|name| self.spend.rules.get(name));
        rules.copied().collect()
    }

    fn limits(&self) -> Vec<Limit> {
        let mut limits: Vec<Limit> = self
            .policies
            .values()
            .filter_map(|policy| self.limit(policy))
            .collect();
        let for_all = |policy: &Policy| {
            policy.spec.max_machines.is_some()
                && Selector::of(&policy.spec) == Selector(PolicySpec::default())
        };
        if !self.policies.values().any(for_all) {
            limits.push(Limit {
                name: "built-in".to_owned(),
                machines: Some(DEFAULT_MAX_MACHINES),
                ..Limit::default()
            });
        }
        limits
    }

    fn limit(&self, policy: &Policy) -> Option<Limit> {
        let spec = &policy.spec;
        let limit = Limit {
            name: policy.name.clone(),
            scope: Scope::default(),
            machines: spec.max_machines,
            vcpus: spec.max_vcpus,
            builds: spec.max_builds,
            launches_per_hour: spec.max_launches_per_hour,
            cost_per_hour: spec.max_cost_per_hour,
        };
        let says_nothing = limit
            == Limit {
                name: policy.name.clone(),
                ..Limit::default()
            };
        (!says_nothing).then(|| Limit {
            scope: self.scope(&policy.name, &Selector::of(spec)),
            ..limit
        })
    }

    fn scope(&self, policy: &str, selector: &Selector) -> Scope {
        let images = self.snapshot.images.iter().enumerate().filter(|(_, view)| {
            let provider = self.provider_of(&view.name);
            selector.has_image(&view.name, provider)
        });
        let projects = self.snapshot.projects.iter().enumerate();
        let projects = projects.filter(|(_, view)| selector.has_project(&view.name));
        let (spec, rule) = (&selector.0, self.spend.rules.get(policy));
        Scope {
            images: (!spec.images.is_empty() || !spec.providers.is_empty())
                .then(|| images.map(|(place, _)| ImageIndex(place)).collect()),
            projects: (!spec.projects.is_empty())
                .then(|| projects.map(|(place, _)| ProjectIndex(place)).collect()),
            rule: rule.copied(),
        }
    }

    /// How long machines of an image may take to be ready.
    pub(super) fn boot_timeout_of(&self, image: &str) -> Span {
        let image = self.image(image);
        image.map_or(Span::ZERO, |image| image.spec.boot_timeout)
    }

    /// The provider of an image, by any version that is known.
    fn provider_of(&self, image: &str) -> Option<&str> {
        let versions = (image.to_owned(), 0)..=(image.to_owned(), u32::MAX);
        let (_, image) = self.images.range(versions).next_back()?;
        Some(image.spec.provider.as_str())
    }

    /// A project was seen for the first time: some limits and budgets speak of it.
    pub(super) fn new_project(&mut self, name: &str, index: ProjectIndex) {
        let limits: Vec<(usize, String)> = self
            .snapshot
            .limits
            .iter()
            .map(|l| l.name.clone())
            .enumerate()
            .collect();
        for (place, policy) in limits {
            let spec = self.policies.get(&policy).map(|policy| &policy.spec);
            let speaks = spec.is_some_and(|spec| Selector::of(spec).has_project(name));
            let limit = self.snapshot.limits.get_mut(place).filter(|_| speaks);
            if let Some(projects) = limit.and_then(|limit| limit.scope.projects.as_mut()) {
                projects.insert(index);
            }
        }
        for (declared, view) in self.spend.budgets.iter().zip(&mut self.snapshot.budgets) {
            if declared.selector.has_project(name)
                && let Some(projects) = &mut view.scope.projects
            {
                projects.insert(index);
            }
        }
    }

    fn refresh_budgets(&mut self, now: Timestamp) {
        let declared: Vec<Declared> = self
            .policies
            .values()
            .flat_map(|policy| {
                policy.spec.budgets.iter().map(|budget| Declared {
                    policy: policy.name.clone(),
                    selector: Selector::of(&policy.spec),
                    budget: budget.clone(),
                    applied_at: policy.applied_at,
                })
            })
            .collect();
        let before: Vec<(Declared, BudgetView)> = std::mem::take(&mut self.spend.budgets)
            .into_iter()
            .zip(std::mem::take(&mut self.snapshot.budgets))
            .collect();
        for declared in &declared {
            let scope = self.scope(&declared.policy, &declared.selector);
            let mut view = declared.view(scope, now);
            view.is_known = !self.spend.has_past;
            let same = before.iter().find(|(other, _)| declared.counts_like(other));
            if let Some((_, counted)) = same {
                view.window = counted.window;
                view.spent.clone_from(&counted.spent);
                view.carry = counted
                    .carry
                    .clone()
                    .map(|(_, b)| (declared.budget.roll_over, b));
                view.is_known = counted.is_known;
            }
            self.snapshot.budgets.push(view);
        }
        self.spend.budgets = declared;
        self.refresh_approvals();
    }

    /// Counts what was approved in the present windows.
    pub(crate) fn refresh_approvals(&mut self) {
        let budgets = self.snapshot.budgets.len();
        for place in 0..budgets {
            let mut approved: BTreeMap<Part, Money> = BTreeMap::new();
            for note in self.spend.notes.clone() {
                let view = self.snapshot.budgets.get(place);
                let is_its = view.is_some_and(|view| is_of(view, &note));
                let BudgetNews::Approved { amount, .. } = note.what else {
                    continue;
                };
                if let Some(part) = self.part(&note.part).filter(|_| is_its) {
                    *approved.entry(part).or_default() += amount;
                }
            }
            if let Some(view) = self.snapshot.budgets.get_mut(place) {
                view.approved = approved;
            }
        }
    }

    /// The planner's name of a part.
    pub(crate) fn part(&mut self, part: &BudgetPart) -> Option<Part> {
        Some(match part {
            BudgetPart::All => Part::All,
            BudgetPart::Project(name) => Part::Project(self.project_of(name)),
            BudgetPart::Image(name) => Part::Image(self.known_image(name)?),
            BudgetPart::Pipeline(id) => Part::Pipeline(*id),
            BudgetPart::Build(id) => Part::Build(*id),
        })
    }

    /// A part as it is stored and shown.
    pub(crate) fn part_name(&self, part: Part) -> BudgetPart {
        match part {
            Part::All => BudgetPart::All,
            Part::Project(index) => {
                let project = self.snapshot.projects.get(index.0);
                BudgetPart::Project(project.map(|p| p.name.clone()).unwrap_or_default())
            }
            Part::Image(index) => {
                let image = self.snapshot.image(index);
                BudgetPart::Image(image.map(|image| image.name.clone()).unwrap_or_default())
            }
            Part::Pipeline(id) => BudgetPart::Pipeline(id),
            Part::Build(id) => BudgetPart::Build(id),
        }
    }

    /// Begins new windows, and forgets launches that are more than an hour old.
    pub(crate) fn roll_windows(&mut self, now: Timestamp) {
        let mut has_rolled = false;
        for (declared, view) in self.spend.budgets.iter().zip(&mut self.snapshot.budgets) {
            let Some((_, to)) = view.window.filter(|(_, to)| now >= *to) else {
                continue;
            };
            has_rolled = true;
            view.window = ledger::window(view.per, &declared.budget.time_zone, now);
            let spent = std::mem::take(&mut view.spent);
            let follows = view.window.is_some_and(|(from, _)| from == to);
            let spent = if follows { spent } else { BTreeMap::new() };
            let before = declared.before(view.window);
            view.carry = before.map(|_| (declared.budget.roll_over, spent));
        }
        if has_rolled {
            self.refresh_approvals();
        }
        let is_over = |at: Timestamp| now >= at + LAUNCH_WINDOW;
        if self.spend.launches.first().is_some_and(|l| is_over(l.at)) {
            self.spend.launches.retain(|launch| !is_over(launch.at));
            self.snapshot.launches.retain(|launch| !is_over(launch.at));
        }
    }

    /// Counts an entry that is being written.
    pub(super) fn count_entry(&mut self, entry: &Entry, machine: &Machine, now: Timestamp) {
        self.spend.counted += 1;
        if self.snapshot.budgets.is_empty() {
            return;
        }
        self.roll_windows(now);
        let build = entry
            .build
            .and_then(|build| self.builds.get(&build))
            .map(|build| Arc::clone(&build.spec));
        let row = SpentRow {
            // What nobody pays for is overhead of the project that the machine works for.
            project: entry.project.clone().or_else(|| machine.project.clone()),
            image: entry.image.clone(),
            pipeline: entry.pipeline,
            build: entry.build,
            labels: build
                .as_ref()
                .map(|spec| spec.labels.clone())
                .unwrap_or_default(),
            priority: build.map(|spec| spec.priority),
            amount: entry.amount,
        };
        for place in 0..self.spend.budgets.len() {
            self.count(place, &row, entry);
        }
    }

    fn count(&mut self, place: usize, row: &SpentRow, entry: &Entry) {
        let Some(part) = self.part_of(place, row) else {
            return;
        };
        let before = self
            .spend
            .budgets
            .get(place)
            .zip(self.snapshot.budgets.get(place));
        let before = before.and_then(|(declared, view)| declared.before(view.window));
        let Some(view) = self.snapshot.budgets.get_mut(place) else {
            return;
        };
        let amount = match view.window {
            Some((from, to)) => ledger::between(entry, from, to),
            None => entry.amount,
        };
        *view.spent.entry(part).or_default() += amount;
        if let (Some((_, spent)), Some((from, to))) = (&mut view.carry, before) {
            *spent.entry(part).or_default() += ledger::between(entry, from, to);
        }
    }

    /// The part of a budget that a row of the ledger counts for.
    fn part_of(&mut self, place: usize, row: &SpentRow) -> Option<Part> {
        let provider = self.provider_of(&row.image).map(str::to_owned);
        let declared = self.spend.budgets.get(place)?;
        if !declared.selector.covers(row, provider.as_deref()) {
            return None;
        }
        match declared.budget.each {
            BudgetEach::All => Some(Part::All),
            BudgetEach::Project => {
                let project = row.project.as_deref()?;
                Some(Part::Project(self.project_of(project)))
            }
            BudgetEach::Image => Some(Part::Image(self.known_image(&row.image)?)),
            BudgetEach::Pipeline => row.pipeline.map(Part::Pipeline),
            BudgetEach::Build => row.build.map(Part::Build),
        }
    }

    /// Since when the ledger must be read for the budgets whose sums are not known.
    pub(crate) fn unknown_since(&mut self, now: Timestamp) -> BTreeSet<Timestamp> {
        self.roll_windows(now);
        // No entry of a pipeline or build is older than its submission.
        let submitted = self.builds.values().map(|build| build.spec.submitted_at);
        let oldest = submitted.min().unwrap_or(now);
        let budgets = self.spend.budgets.iter().zip(&self.snapshot.budgets);
        let unknown = budgets.filter(|(_, view)| !view.is_known);
        unknown
            .flat_map(|(declared, view)| {
                let whole = match (view.window, view.is_cap()) {
                    (Some((from, _)), _) => from,
                    (None, true) => oldest,
                    (None, false) => Timestamp::from_micros(0),
                };
                let before = declared.before(view.window).map(|(from, _)| from);
                before.into_iter().chain([whole])
            })
            .collect()
    }

    /// Takes over what the ledger says was spent since some moments.
    pub(crate) fn know_spent(
        &mut self,
        since: &BTreeMap<Timestamp, Vec<SpentRow>>,
        now: Timestamp,
    ) {
        let wanted = self.unknown_since(now);
        // A window has begun meanwhile: the caller asks again.
        if !wanted.iter().all(|at| since.contains_key(at)) {
            return;
        }
        for place in 0..self.spend.budgets.len() {
            let found = self
                .spend
                .budgets
                .get(place)
                .zip(self.snapshot.budgets.get(place));
            let Some((declared, view)) = found.filter(|(_, view)| !view.is_known) else {
                continue;
            };
            let (window, before) = (view.window, declared.before(view.window));
            let roll_over = declared.budget.roll_over;
            let begin = window.map(|(from, _)| from);
            let begin = begin.or_else(|| since.keys().next().copied());
            let spent = self.sum(place, begin.and_then(|at| since.get(&at)));
            let carry = before.map(|(from, _)| {
                let mut sums = self.sum(place, since.get(&from));
                for (part, amount) in &spent {
                    *sums.entry(*part).or_default() += -*amount;
                }
                (roll_over, sums)
            });
            if let Some(view) = self.snapshot.budgets.get_mut(place) {
                (view.spent, view.carry, view.is_known) = (spent, carry, true);
            }
        }
    }

    fn sum(&mut self, place: usize, rows: Option<&Vec<SpentRow>>) -> BTreeMap<Part, Money> {
        let mut sums: BTreeMap<Part, Money> = BTreeMap::new();
        for row in rows.into_iter().flatten() {
            if let Some(part) = self.part_of(place, row) {
                *sums.entry(part).or_default() += row.amount;
            }
        }
        sums
    }

    /// What of some rows counts for each budget of the snapshot, all its parts together.
    pub(crate) fn totals(&mut self, rows: &[SpentRow]) -> Vec<BTreeMap<Part, Money>> {
        let rows = rows.to_vec();
        (0..self.spend.budgets.len())
            .map(|place| self.sum(place, Some(&rows)))
            .collect()
    }

    /// The declaration behind a budget of the snapshot.
    pub(crate) fn declared(&self, place: usize) -> Option<&Budget> {
        self.spend
            .budgets
            .get(place)
            .map(|declared| &declared.budget)
    }

    /// Counts a launch that is being decided, or that a process before this one decided.
    pub(crate) fn count_launch(&mut self, launch: Launched) {
        let view = self.launch_view(&launch);
        self.snapshot.launches.push(view);
        self.spend.launches.push(launch);
    }

    fn refresh_launches(&mut self, now: Timestamp) {
        let recent = |launch: &Launched| now < launch.at + LAUNCH_WINDOW;
        self.spend.launches.retain(recent);
        let launches = self.spend.launches.clone();
        let views = launches.iter().map(|launch| self.launch_view(launch));
        self.snapshot.launches = views.collect();
    }

    fn launch_view(&mut self, launch: &Launched) -> LaunchView {
        let build = launch.build.as_ref();
        LaunchView {
            at: launch.at,
            image: self.index_of(&launch.image),
            project: build.map(|spec| self.project_of(&spec.project)),
            rules: build.map(|spec| self.rules_of(spec)).unwrap_or_default(),
        }
    }

    /// Keeps the planner's view of builds with a machine in step, and the turn of their flow.
    pub(super) fn track_bound(&mut self, build: &Build) {
        let (machine, began) = match &build.state {
            BuildState::Bound { machine, .. } => {
                // It leaves the queue: its flow has had its turn.
                self.snapshot.charge(build.id);
                (*machine, None)
            }
            BuildState::Running { machine, since, .. } => (*machine, Some(*since)),
            BuildState::Waiting | BuildState::Queued { .. } | BuildState::Finished { .. } => {
                self.snapshot.bound.remove(&build.id);
                if build.state.is_finished() {
                    self.forget_part(build);
                }
                return;
            }
        };
        let view = BoundView {
            machine,
            project: self.project_of(&build.spec.project),
            pipeline: build.spec.pipeline,
            rules: self.rules_of(&build.spec),
            began,
            timeout: build.spec.timeout,
        };
        self.snapshot.bound.insert(build.id, view);
    }

    /// What a build's own amount was is of no use once it is over.
    fn forget_part(&mut self, build: &Build) {
        for view in &mut self.snapshot.budgets {
            if view.per == Period::Life {
                view.spent.remove(&Part::Build(build.id));
            }
        }
    }
}

/// Whether a note is about a budget in its present window.
pub(super) fn is_of(view: &BudgetView, note: &BudgetNote) -> bool {
    let is_in = |(from, to): (Timestamp, Timestamp)| (from..to).contains(&note.at);
    note.policy == view.policy && note.budget == view.name && view.window.is_none_or(is_in)
}

/// What a machine uses up: at most what it may become, as long as that is not known.
pub(super) fn meter_of(machine: &Machine) -> Meter {
    let is = AtMost {
        vcpus: machine.shape.vcpus,
        rate: ledger::rate_now(machine),
    };
    let most = machine.at_most.unwrap_or(is);
    let coming_since = match machine.state {
        MachineState::Waking { .. } => machine.since,
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => machine.created_at,
    };
    Meter {
        vcpus: most.vcpus.max(is.vcpus),
        rate: most.rate.max(is.rate),
        unbilled_since: machine.billed_until,
        coming_since,
    }
}
