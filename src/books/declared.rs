//! Budgets as policies declare them, and what policies speak of.

use std::collections::BTreeMap;

use crate::ledger;
use crate::model::{Budget, Money, PolicySpec, Timestamp};
use crate::planner::{BudgetView, Scope};
use crate::policy;
use crate::store::SpentRow;

/// A budget with the policy that declares it.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) policy: String,
    /// What it speaks of.
    pub(super) selector: Selector,
    pub(super) budget: Budget,
    /// Since when it has been as it is.
    pub(super) applied_at: Timestamp,
}

/// What a policy speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector(pub(super) PolicySpec);

impl Selector {
    /// The selecting part of a policy.
    pub(super) fn of(spec: &PolicySpec) -> Self {
        Self(PolicySpec {
            images: spec.images.clone(),
            projects: spec.projects.clone(),
            providers: spec.providers.clone(),
            labels: spec.labels.clone(),
            priority: spec.priority,
            ..PolicySpec::default()
        })
    }

    pub(super) fn is_by_build(&self) -> bool {
        !self.0.labels.is_empty() || self.0.priority.is_some()
    }

    /// Whether it may speak of an image's machines.
    pub(super) fn has_image(&self, name: &str, provider: Option<&str>) -> bool {
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
    pub(super) fn has_project(&self, name: &str) -> bool {
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
    pub(super) fn covers(&self, row: &SpentRow, provider: Option<&str>) -> bool {
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
    pub(super) fn counts_like(&self, other: &Self) -> bool {
        let key = |d: &Self| (d.budget.each, d.budget.per, d.budget.time_zone.clone());
        self.policy == other.policy
            && self.budget.name == other.budget.name
            && self.selector == other.selector
            && key(self) == key(other)
    }

    pub(super) fn view(&self, scope: Scope, now: Timestamp) -> BudgetView {
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
    pub(super) fn before(&self, window: Option<ledger::Window>) -> Option<ledger::Window> {
        let (from, _) = window?;
        let at = Timestamp::from_micros(from.micros() - 1);
        let leaves = self.budget.roll_over > Money::ZERO && self.applied_at < from;
        let before = ledger::window(self.budget.per, &self.budget.time_zone, at)?;
        leaves.then_some(before)
    }
}
