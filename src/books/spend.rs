//! What limits and budgets count: kept in the planner's snapshot with every change.
//!
//! Money is counted as its entries are written ([`Books::count_entry`]). What was spent before this
//! process began, or before a budget was declared, is read from the store by the engine and handed in
//! ([`Books::know_spent`]); until then such a budget admits nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{
    BudgetEach, BudgetNews, BudgetNote, BudgetPart, Build, BuildSpec, Money, Policy, PolicySpec,
    Span, Timestamp,
};
use crate::planner::{BudgetView, ImageIndex, Limit, Part, ProjectIndex, Rule, Scope};

use super::books::{Books, DEFAULT_MAX_MACHINES};
use super::declared::{Declared, Selector};

/// What limits and budgets count, beside what the planner sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spend {
    /// The budgets of the snapshot, in its order.
    pub(super) budgets: Vec<Declared>,
    /// Approvals and warnings that may still matter.
    pub(crate) notes: Vec<BudgetNote>,
    /// Launches of the last hour, oldest first.
    pub(super) launches: Vec<Launched>,
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
    pub(super) fn provider_of(&self, image: &str) -> Option<&str> {
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
}

/// Whether a note is about a budget in its present window.
pub(super) fn is_of(view: &BudgetView, note: &BudgetNote) -> bool {
    let is_in = |(from, to): (Timestamp, Timestamp)| (from..to).contains(&note.at);
    note.policy == view.policy && note.budget == view.name && view.window.is_none_or(is_in)
}
