//! Budgets: no part spends more than its amount, but for what nobody could know when the money was
//! given out. What is spent is added up anew, from the entries alone.
//!
//! Beyond its amount a part may spend, for each of its machines: one piece of time as its provider
//! bills it, and the time that stopping takes; the way out of machines, which takes as long as the
//! provider likes; disks of machines asleep; and all that runs on while the orchestrator or the
//! provider is not there, or while a clock jumps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::books::Books;
use crate::ledger;
use crate::model::{
    Billing, Budget, BudgetEach, BudgetNews, BudgetPart, BuildId, BuildSpec, Category, Entry,
    Machine, MachineId, MachineState, Money, Policy, Rate, Span, Timestamp,
};
use crate::policy::{self, Subject};

/// A minute and a bit for a stop to work, a sweep to see, and a launch to be answered.
const GRACE: Span = Span::from_secs(120);

/// What was spent of budgets.
#[derive(Debug, Default)]
pub(super) struct Spending {
    specs: BTreeMap<BuildId, Arc<BuildSpec>>,
    /// Machines as they were before the present transaction; those that it made, as they are.
    ///
    /// A transaction writes what a machine cost until then together with what the machine is from then
    /// on. Idle time counts for the project that had the machine and that money was set aside for, not
    /// for the one whose build it is given now; and one that is woken now was a disk until then.
    machines: BTreeMap<MachineId, Payer>,
    /// Those that the present transaction has changed, as they are after it.
    changed: BTreeMap<MachineId, Payer>,
    sums: BTreeMap<Key, Sum>,
    /// Those that have changed with the present transaction.
    touched: BTreeSet<Key>,
    /// Nobody was there, or a clock jumped.
    troubles: Vec<(Timestamp, Timestamp)>,
    /// When the orchestrator began anew. What machines cost without a build counts for the project
    /// that they worked for last then, and for the one of that time before.
    restarted_at: Option<Timestamp>,
    /// When policies changed last while builds were there: what runs may cost more than before.
    changed_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Payer {
    project: Option<String>,
    provider: String,
    rate: Rate,
    billing: Billing,
    /// Asleep, or falling asleep.
    is_asleep: bool,
}

/// A part of a budget in one window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    policy: String,
    budget: String,
    part: BudgetPart,
    begin: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Sum {
    spent: Money,
    excused: Money,
    /// What each machine may cost beyond what was given out.
    grace: BTreeMap<MachineId, Money>,
}

impl Spending {
    pub(super) fn build(&mut self, id: BuildId, spec: &Arc<BuildSpec>) {
        self.specs.insert(id, Arc::clone(spec));
    }

    /// A machine was written.
    pub(super) fn machine(&mut self, machine: &Machine) {
        let payer = Payer {
            project: machine.project.clone(),
            provider: machine.provider.clone(),
            rate: machine.shape.price_usd_micro_per_hour,
            billing: machine.billing,
            is_asleep: matches!(
                machine.state,
                MachineState::FallingAsleep { .. } | MachineState::Asleep { .. }
            ),
        };
        let known = self.machines.entry(machine.id);
        known.or_insert_with(|| payer.clone());
        self.changed.insert(machine.id, payer);
    }

    /// Policies have changed.
    pub(super) fn policies_changed(&mut self, now: Timestamp) {
        if !self.specs.is_empty() {
            self.changed_at = Some(now);
        }
    }

    /// The orchestrator has begun anew.
    pub(super) fn restarted(&mut self, now: Timestamp) {
        self.restarted_at = Some(now);
    }

    /// Nobody is there until a time.
    pub(super) fn trouble(&mut self, from: Timestamp, to: Timestamp) {
        self.troubles.push((from, to));
    }

    /// The clock jumps: what lasts at the time ends later by it.
    pub(super) fn jump(&mut self, from: Timestamp, span: Span) {
        for trouble in self.troubles.iter_mut().filter(|(_, to)| *to > from) {
            trouble.1 = trouble.1 + span;
        }
        self.trouble(from, from + span);
    }

    /// Money was spent.
    pub(super) fn entry(&mut self, entry: &Entry, books: &Books) {
        let Some(payer) = self.machines.get(&entry.machine).cloned() else {
            return;
        };
        for policy in books.policies.values() {
            for budget in &policy.spec.budgets {
                if let Some(part) = self.part(entry, &payer, policy, budget) {
                    self.count(entry, &payer, (policy, budget), &part);
                }
            }
        }
    }

    /// The part of a budget that pays for an entry.
    fn part(
        &self,
        entry: &Entry,
        payer: &Payer,
        policy: &Policy,
        budget: &Budget,
    ) -> Option<BudgetPart> {
        let spec = entry.build.and_then(|build| self.specs.get(&build));
        let project = entry.project.as_deref().or(payer.project.as_deref());
        let subject = Subject {
            project,
            image: Some(&entry.image),
            provider: Some(&payer.provider),
            labels: spec.map(|spec| &spec.labels),
            priority: spec.map(|spec| spec.priority),
        };
        if !policy::speaks_of(&policy.spec, &subject) {
            return None;
        }
        Some(match budget.each {
            BudgetEach::All => BudgetPart::All,
            BudgetEach::Project => BudgetPart::Project(project?.to_owned()),
            BudgetEach::Image => BudgetPart::Image(entry.image.clone()),
            BudgetEach::Pipeline => BudgetPart::Pipeline(entry.pipeline?),
            BudgetEach::Build => BudgetPart::Build(entry.build?),
        })
    }

    fn count(
        &mut self,
        entry: &Entry,
        payer: &Payer,
        (policy, budget): (&Policy, &Budget),
        part: &BudgetPart,
    ) {
        let mut at = entry.from;
        loop {
            let window = ledger::window(budget.per, &budget.time_zone, at);
            let key = Key {
                policy: policy.name.clone(),
                budget: budget.name.clone(),
                part: part.clone(),
                begin: window.map(|(from, _)| from),
            };
            let within = window.unwrap_or((
                Timestamp::from_micros(i64::MIN),
                Timestamp::from_micros(i64::MAX),
            ));
            let excused = self.excused(entry, payer, within);
            let sum = self.sums.entry(key.clone()).or_default();
            sum.spent += ledger::between(entry, within.0, within.1);
            sum.excused += excused;
            let piece = payer.billing.quantum.max(payer.billing.minimum);
            let grace = Span::from_micros(GRACE.micros() + piece.micros());
            sum.grace.insert(entry.machine, payer.rate.cost_of(grace));
            self.touched.insert(key);
            match window {
                Some((_, to)) if to < entry.to => at = to,
                Some(_) | None => return,
            }
        }
    }

    fn excused(&self, entry: &Entry, payer: &Payer, within: (Timestamp, Timestamp)) -> Money {
        if entry.category == Category::Drain || payer.is_asleep {
            return ledger::between(entry, within.0, within.1);
        }
        let overlaps = self.troubles.iter().map(|(from, to)| {
            let (from, to) = ((*from).max(within.0), (*to).min(within.1));
            if from < to {
                ledger::between(entry, from, to)
            } else {
                Money::ZERO
            }
        });
        overlaps.sum()
    }

    /// Looks at what the present transaction has spent, which is over with it.
    pub(super) fn look(&mut self, books: &Books) -> Result<(), String> {
        self.machines.append(&mut self.changed);
        for key in std::mem::take(&mut self.touched) {
            let policy = books.policies.get(&key.policy);
            let mut budgets = policy.into_iter().flat_map(|policy| &policy.spec.budgets);
            let budget = budgets.find(|budget| budget.name == key.budget);
            let is_within = |at: Timestamp| key.begin.is_none_or(|begin| begin <= at);
            let is_of_project = matches!(key.part, BudgetPart::Project(_));
            let is_new = self.changed_at.is_some_and(is_within)
                || (is_of_project && self.restarted_at.is_some_and(is_within));
            let Some((budget, sum)) = budget.zip(self.sums.get(&key)).filter(|_| !is_new) else {
                continue;
            };
            let total = self.total(&key, budget, books);
            let grace = sum.grace.values().copied().sum::<Money>();
            if sum.spent - sum.excused > total + grace {
                return Err(format!(
                    "{} of {total} are spent of {key:?}, {} of it excused, and {grace} would be \
                     for {} machines",
                    sum.spent,
                    sum.excused,
                    sum.grace.len()
                ));
            }
        }
        Ok(())
    }

    /// What a part may spend at most: with what was ever approved for it, for what was given out in
    /// one window may be spent in the next, and what the window before left.
    fn total(&self, key: &Key, budget: &Budget, books: &Books) -> Money {
        let notes = books.spend.notes.iter().filter(|note| {
            let is_its = note.part == key.part || note.part == BudgetPart::All;
            note.policy == key.policy && note.budget == key.budget && is_its
        });
        let approved = notes.map(|note| match note.what {
            BudgetNews::Approved { amount, .. } => amount,
            BudgetNews::Warned => Money::ZERO,
        });
        let before = key.begin.and_then(|begin| {
            let at = Timestamp::from_micros(begin.micros() - 1);
            let begin = ledger::window(budget.per, &budget.time_zone, at).map(|(from, _)| from);
            let before = Key {
                begin,
                ..key.clone()
            };
            self.sums.get(&before).map(|sum| sum.spent)
        });
        let left = budget.amount - before.unwrap_or(Money::ZERO);
        let carried = budget.roll_over.min(left.max(Money::ZERO));
        let carried = key.begin.map_or(Money::ZERO, |_| carried);
        budget.amount + carried + approved.sum()
    }
}
