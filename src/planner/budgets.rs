//! Budgets: whether there is money for one more build.
//!
//! What counts against an amount: what was billed in the window, time that is not billed yet, and what
//! running machines may still cost at worst: boot and timeout of their builds and the idle time after.
//! So what is admitted can always be paid, whatever happens to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    AtLimit, BudgetEach, BuildId, MachineId, Money, Period, PipelineId, Rate, Span, Timestamp,
};

use super::limits::{Rule, Scope, Wanted};
use super::snapshot::{BoundView, Class, ImageIndex, MachineView, Phase, ProjectIndex, Snapshot};

/// What has an amount of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Part {
    /// All that the policy speaks of.
    All,
    /// A project.
    Project(ProjectIndex),
    /// An image.
    Image(ImageIndex),
    /// A pipeline.
    Pipeline(PipelineId),
    /// A build.
    Build(BuildId),
}

/// A text that names no part of a budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no part of a budget")]
pub struct NoPart(String);

/// Parts are keys of maps, and keys are texts where snapshots are written down.
impl From<Part> for String {
    fn from(part: Part) -> Self {
        match part {
            Part::All => "all".to_owned(),
            Part::Project(ProjectIndex(place)) => format!("project:{place}"),
            Part::Image(ImageIndex(place)) => format!("image:{place}"),
            Part::Pipeline(id) => format!("pipeline:{id}"),
            Part::Build(id) => format!("build:{id}"),
        }
    }
}

impl TryFrom<String> for Part {
    type Error = NoPart;

    fn try_from(text: String) -> Result<Self, NoPart> {
        let (kind, id) = text.split_once(':').unwrap_or((&text, ""));
        let place = || id.parse::<usize>().ok();
        let part = match kind {
            "all" => Some(Self::All),
            "project" => place().map(|place| Self::Project(ProjectIndex(place))),
            "image" => place().map(|place| Self::Image(ImageIndex(place))),
            "pipeline" => id.parse().ok().map(Self::Pipeline),
            "build" => id.parse().ok().map(Self::Build),
            _ => None,
        };
        part.ok_or(NoPart(text))
    }
}

/// What the planner knows of a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetView {
    /// The policy that has it.
    pub policy: String,
    /// Its name.
    pub name: String,
    /// What it speaks of.
    pub scope: Scope,
    /// What gets the amount.
    pub each: BudgetEach,
    /// In which time.
    pub per: Period,
    /// How much.
    pub amount: Money,
    /// What becomes of builds for which it has no room.
    pub at_limit: AtLimit,
    /// The window that the sums are of; none for a life.
    pub window: Option<(Timestamp, Timestamp)>,
    /// What was billed in the window.
    pub spent: BTreeMap<Part, Money>,
    /// What was approved on top of the amount for the window.
    pub approved: BTreeMap<Part, Money>,
    /// Most of an unspent amount that the window before leaves, and what that one spent.
    pub carry: Option<(Money, BTreeMap<Part, Money>)>,
    /// Whether the sums have been read; nothing is admitted before.
    pub is_known: bool,
}

/// A budget without room for a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoRoom {
    /// Its place in `Snapshot::budgets`.
    pub budget: usize,
    /// Whose amount.
    pub part: Part,
    /// What the build may cost at worst.
    pub needs: Money,
    /// What is left of the amount.
    pub left: Money,
    /// Whether that would not do either if all that runs cost nothing more.
    pub is_spent: bool,
    /// When the next window begins.
    pub until: Option<Timestamp>,
}

/// What is spent and committed of each part, time not yet billed included.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Spent.
    pub spent: Money,
    /// What running machines may still cost at worst.
    pub committed: Money,
}

/// Whose time a machine's is.
struct Owners<'a> {
    machine: &'a MachineView,
    bound: Vec<(BuildId, &'a BoundView)>,
    rules: Vec<Rule>,
}

impl BudgetView {
    /// The whole amount of a part: with what was approved, and what the window before left.
    pub fn total(&self, part: Part) -> Money {
        let carried = self.carry.as_ref().map_or(Money::ZERO, |(most, before)| {
            let spent = before.get(&part).copied().unwrap_or_default();
            (*most).min((self.amount - spent).max(Money::ZERO))
        });
        // What is approved for all parts holds for each.
        let all = self.approved.get(&Part::All).filter(|_| part != Part::All);
        let own = self.approved.get(&part);
        self.amount + carried + own.into_iter().chain(all).copied().sum()
    }

    /// Whether it is reached by stopping what runs: a build's or pipeline's own cap, which its timeout
    /// need not fit into.
    pub const fn is_cap(&self) -> bool {
        matches!(
            (self.per, self.each),
            (Period::Life, BudgetEach::Pipeline | BudgetEach::Build)
        )
    }

    /// The window's sums at `now`: nothing of a window that is over.
    fn is_over(&self, now: Timestamp) -> bool {
        self.window.is_some_and(|(_, to)| now >= to)
    }

    fn begin(&self, now: Timestamp) -> Timestamp {
        match self.window {
            Some((_, to)) if now >= to => to,
            Some((from, _)) => from,
            None => Timestamp::from_micros(i64::MIN),
        }
    }

    /// The part that pays for a machine's time without a build.
    fn part_of(&self, image: ImageIndex, project: Option<ProjectIndex>) -> Option<Part> {
        match self.each {
            BudgetEach::All => Some(Part::All),
            BudgetEach::Project => project.map(Part::Project),
            BudgetEach::Image => Some(Part::Image(image)),
            BudgetEach::Pipeline | BudgetEach::Build => None,
        }
    }

    /// The part that pays for a build.
    fn part_for(&self, class: &Class, image: ImageIndex, build: BuildId) -> Option<Part> {
        match self.each {
            BudgetEach::All | BudgetEach::Project | BudgetEach::Image => {
                self.part_of(image, Some(class.project))
            }
            BudgetEach::Pipeline => class.pipeline.map(Part::Pipeline),
            BudgetEach::Build => Some(Part::Build(build)),
        }
    }

    /// How each part stands: what is billed, what is not yet, and what may follow.
    pub fn standings(&self, snapshot: &Snapshot, now: Timestamp) -> BTreeMap<Part, Standing> {
        self.standings_of(snapshot, now, &owners(snapshot))
    }

    fn standings_of(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        machines: &BTreeMap<MachineId, Owners<'_>>,
    ) -> BTreeMap<Part, Standing> {
        let mut standings: BTreeMap<Part, Standing> = BTreeMap::new();
        let spent = self.spent.iter().filter(|_| !self.is_over(now));
        for (part, spent) in spent {
            standings.entry(*part).or_default().spent = *spent;
        }
        for owners in machines.values() {
            self.add(snapshot, now, owners, &mut standings);
        }
        standings
    }

    fn add(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        owners: &Owners<'_>,
        standings: &mut BTreeMap<Part, Standing>,
    ) {
        let machine = owners.machine;
        let since = machine.meter.unbilled_since.max(self.begin(now));
        let unbilled = machine.meter.rate.cost_of(now.since(since));
        if self
            .scope
            .covers(machine.image, machine.project, &owners.rules)
            && let Some(part) = self.part_of(machine.image, machine.project)
        {
            let standing = standings.entry(part).or_default();
            standing.spent += unbilled;
            let left = machine_left(snapshot, now, owners);
            standing.committed += machine.meter.rate.cost_of(left);
        }
        // Builds pay for themselves, and so do projects whose builds run beside those of the one that
        // the machine counts for: at worst for all of the machine.
        let mut others: BTreeMap<Part, Span> = BTreeMap::new();
        for (id, bound) in &owners.bound {
            let Some(part) = self.part_beside(machine, *id, bound) else {
                continue;
            };
            let left = build_left(snapshot, now, machine, bound);
            let most = others.entry(part).or_default();
            *most = left.max(*most);
        }
        for (part, left) in others {
            let standing = standings.entry(part).or_default();
            let left = machine.meter.rate.cost_of(left);
            if matches!(part, Part::Build(_) | Part::Pipeline(_)) {
                standing.spent += unbilled;
                standing.committed += left;
            } else {
                standing.committed += unbilled + left;
            }
        }
    }

    /// The part that pays for a build, if that is not the one that pays for its machine.
    fn part_beside(&self, machine: &MachineView, id: BuildId, bound: &BoundView) -> Option<Part> {
        let image = machine.image;
        if !self.scope.covers(image, Some(bound.project), &bound.rules) {
            return None;
        }
        match self.each {
            BudgetEach::Pipeline => Some(Part::Pipeline(bound.pipeline)),
            BudgetEach::Build => Some(Part::Build(id)),
            BudgetEach::All | BudgetEach::Project | BudgetEach::Image => {
                let is_other = machine.project != Some(bound.project);
                let part = self.part_of(image, Some(bound.project))?;
                let counted = self
                    .scope
                    .covers(image, machine.project, &bound.rules)
                    .then(|| self.part_of(image, machine.project))
                    .flatten();
                (is_other && counted != Some(part)).then_some(part)
            }
        }
    }
}

/// The machines that cost something, with what they are for.
fn owners(snapshot: &Snapshot) -> BTreeMap<MachineId, Owners<'_>> {
    let machines = snapshot.machines.iter();
    let mut owners: BTreeMap<MachineId, Owners<'_>> = machines
        .map(|(id, machine)| {
            let (bound, rules) = (Vec::new(), Vec::new());
            let owners = Owners {
                machine,
                bound,
                rules,
            };
            (*id, owners)
        })
        .collect();
    for (build, bound) in &snapshot.bound {
        if let Some(owners) = owners.get_mut(&bound.machine) {
            owners.bound.push((*build, bound));
            owners.rules.extend(&bound.rules);
        }
    }
    owners
}

/// How long a machine may be paid for at most, if nothing new comes.
fn machine_left(snapshot: &Snapshot, now: Timestamp, owners: &Owners<'_>) -> Span {
    let machine = owners.machine;
    let idle = snapshot
        .image(machine.image)
        .map_or(Span::ZERO, |image| image.idle_timeout);
    let builds = owners.bound.iter();
    let busy = builds.map(|(_, bound)| build_left(snapshot, now, machine, bound));
    let left = match machine.phase {
        Phase::Idle(since) => (since + idle).since(now),
        Phase::Coming { claimed: false } => plus(boot_left(snapshot, now, machine), idle),
        Phase::Coming { claimed: true } | Phase::Busy => {
            plus(busy.max().unwrap_or(Span::ZERO), idle)
        }
        Phase::Asleep(_) | Phase::FallingAsleep | Phase::Ending => Span::ZERO,
    };
    let held = machine
        .held_until
        .map_or(Span::ZERO, |until| until.since(now));
    left.max(held)
}

/// How long a build that has a machine may take at most.
fn build_left(
    snapshot: &Snapshot,
    now: Timestamp,
    machine: &MachineView,
    bound: &BoundView,
) -> Span {
    match bound.began {
        Some(began) => (began + bound.timeout).since(now),
        None => plus(boot_left(snapshot, now, machine), bound.timeout),
    }
}

fn boot_left(snapshot: &Snapshot, now: Timestamp, machine: &MachineView) -> Span {
    let boot = snapshot
        .image(machine.image)
        .map_or(Span::ZERO, |image| image.boot_timeout);
    match machine.phase {
        Phase::Coming { .. } => (machine.meter.coming_since + boot).since(now),
        Phase::Idle(_) | Phase::Busy | Phase::Asleep(_) | Phase::FallingAsleep | Phase::Ending => {
            Span::ZERO
        }
    }
}

const fn plus(one: Span, other: Span) -> Span {
    Span::from_micros(one.micros().saturating_add(other.micros()))
}

/// What is left of the budgets while a pass gives it out.
#[derive(Debug, Clone, Default)]
pub(super) struct Purse {
    /// By place in `Snapshot::budgets`.
    taken: Vec<BTreeMap<Part, Standing>>,
}

/// What a build's place would cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Price<'a> {
    pub(super) class: &'a Class,
    /// None for a machine to be at hand.
    pub(super) build: Option<BuildId>,
    pub(super) wanted: &'a Wanted<'a>,
    /// From now to the first step at worst.
    pub(super) boot: Span,
}

impl Purse {
    pub(super) fn of(snapshot: &Snapshot, now: Timestamp) -> Self {
        if snapshot.budgets.is_empty() {
            return Self::default();
        }
        let owners = owners(snapshot);
        let taken = snapshot.budgets.iter().map(|budget| {
            let mut standings = budget.standings_of(snapshot, now, &owners);
            if budget.is_cap() {
                // It is not reserved: what runs is stopped when it is reached.
                for standing in standings.values_mut() {
                    standing.committed = Money::ZERO;
                }
            }
            standings
        });
        Self {
            taken: taken.collect(),
        }
    }

    /// The first budget that has no room.
    pub(super) fn refuses(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        price: &Price<'_>,
    ) -> Option<NoRoom> {
        let budgets = snapshot.budgets.iter().zip(&self.taken).enumerate();
        budgets.into_iter().find_map(|(place, (budget, taken))| {
            let (part, needs) = budget.asks(snapshot, now, price)?;
            let taken = taken.get(&part).cloned().unwrap_or_default();
            let unspent = budget.total(part) - taken.spent;
            let left = unspent - taken.committed;
            let fits = |left: Money| {
                if budget.is_cap() {
                    left > Money::ZERO
                } else {
                    needs <= left
                }
            };
            (!fits(left) || !budget.is_known).then_some(NoRoom {
                budget: place,
                part,
                needs,
                left,
                is_spent: !fits(unspent),
                until: budget.window.map(|(_, to)| to).filter(|to| now < *to),
            })
        })
    }

    /// What each budget that pays for a machine without a build has left.
    pub(super) fn left_for(
        &self,
        snapshot: &Snapshot,
        machine: &MachineView,
    ) -> Vec<((usize, Part), Money)> {
        let budgets = snapshot.budgets.iter().zip(&self.taken).enumerate();
        let paying = budgets.filter_map(|(place, (budget, taken))| {
            let covers = budget.scope.covers(machine.image, machine.project, &[]);
            let part = budget.part_of(machine.image, machine.project)?;
            let taken = taken.get(&part).cloned().unwrap_or_default();
            let left = budget.total(part) - taken.spent - taken.committed;
            (covers && budget.is_known).then_some(((place, part), left))
        });
        paying.collect()
    }

    pub(super) fn take(&mut self, snapshot: &Snapshot, now: Timestamp, price: &Price<'_>) {
        for (budget, taken) in snapshot.budgets.iter().zip(&mut self.taken) {
            if let Some((part, needs)) = budget.asks(snapshot, now, price) {
                taken.entry(part).or_default().committed += needs;
            }
        }
    }
}

impl BudgetView {
    /// Which part would pay for a build in a place, and how much at worst.
    fn asks(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        price: &Price<'_>,
    ) -> Option<(Part, Money)> {
        let Price {
            class,
            build,
            wanted,
            boot,
        } = *price;
        if !self
            .scope
            .covers(wanted.image, wanted.project, wanted.rules)
        {
            return None;
        }
        let part = match build {
            Some(build) => self.part_for(class, wanted.image, build)?,
            None => self.part_of(wanted.image, None)?,
        };
        if self.is_cap() {
            return Some((part, Money::ZERO));
        }
        let rate: Rate = wanted.load.rate;
        let work = plus(boot, class.timeout);
        if matches!(self.each, BudgetEach::Pipeline | BudgetEach::Build) {
            return Some((part, rate.cost_of(work)));
        }
        let idle = snapshot
            .image(wanted.image)
            .map_or(Span::ZERO, |image| image.idle_timeout);
        let all = rate.cost_of(plus(work, idle));
        // What a machine that is there already may cost without the build is counted already.
        let present = wanted.present.filter(|machine| {
            self.scope.covers(machine.image, machine.project, &[])
                && self.part_of(machine.image, machine.project) == Some(part)
        });
        let counted = present.map_or(Money::ZERO, |machine| {
            let (bound, rules) = (Vec::new(), Vec::new());
            let owners = Owners {
                machine,
                bound,
                rules,
            };
            rate.cost_of(machine_left(snapshot, now, &owners))
        });
        Some((part, (all - counted).max(Money::ZERO)))
    }
}
