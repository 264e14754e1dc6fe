//! Checks that a plan keeps limits and budgets, by counting what it changes anew, before and after it.
//!
//! Only machines that the plan gives builds, wakes or launches are looked at twice; the whole is counted
//! where there is more of something than before.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{BuildId, MachineId, Market, Money, PipelineId, Rate, Timestamp};

use super::audit::Violation;
use super::budgets::{Part, Standing};
use super::limits::{LAUNCH_WINDOW, Limit, Load, Rule};
use super::plan::{Action, Plan};
use super::snapshot::{
    BoundView, Class, ImageIndex, MachineView, Past, Phase, ProjectIndex, Snapshot,
};

/// The limits that are exceeded after a plan, and more so than before it; and such budgets.
pub(super) fn over_limits(snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> Vec<Violation> {
    let changed: BTreeSet<MachineId> = plan.actions.iter().flat_map(changes).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let before = Counts::of_these(snapshot, &changed);
    let after = after(snapshot, before.clone(), plan, now);
    let mut whole = None;
    let limits = snapshot.limits.iter();
    let mut violations: Vec<Violation> = limits
        .flat_map(|limit| {
            let grown = before.of(limit).into_iter().zip(after.of(limit));
            let grown = grown.enumerate().filter_map(|(place, (was, is))| {
                let grown = is.2.checked_sub(was.2).filter(|grown| *grown > 0);
                Some((place, is.0, is.1?, grown?))
            });
            let grown: Vec<_> = grown.collect();
            let all = (!grown.is_empty()).then(|| {
                let whole = whole.get_or_insert_with(|| Counts::of_all(snapshot, now));
                whole.of(limit)
            });
            grown
                .into_iter()
                .filter_map(move |(place, quota, max, grown)| {
                    let planned = all?.get(place)?.2 + grown;
                    (planned > max).then(|| Violation::OverLimit {
                        limit: limit.name.clone(),
                        quota,
                        max,
                        planned,
                    })
                })
        })
        .collect();
    violations.extend(over_budgets(snapshot, (&before, &after), now));
    violations
}

/// The machines of which there is more after an action, or which it gives to a build.
fn changes(action: &Action) -> Vec<MachineId> {
    match action {
        Action::Bind { machine, .. }
        | Action::Wake { machine, .. }
        | Action::Launch { machine, .. } => vec![*machine],
        Action::Move { from, machine, .. } => vec![*from, *machine],
        // They use nothing; what they set free is not counted on.
        Action::Sleep { .. } | Action::GiveUp { .. } | Action::Drain { .. } => Vec::new(),
    }
}

/// Budgets whose spent and committed money exceeds them by more than before the plan.
fn over_budgets(
    snapshot: &Snapshot,
    (before, after): (&Counts<'_>, &Counts<'_>),
    now: Timestamp,
) -> Vec<Violation> {
    if snapshot.budgets.is_empty() {
        return Vec::new();
    }
    let (before, after) = (before.as_snapshot(), after.as_snapshot());
    let sum = |standing: &Standing| standing.spent + standing.committed;
    let budgets = snapshot.budgets.iter().filter(|budget| !budget.is_cap());
    budgets
        .flat_map(|budget| {
            let was = budget.standings(&before, now);
            let was = |part: &Part| was.get(part).map_or(Money::ZERO, sum);
            let is = budget.standings(&after, now);
            let grown = is.iter().map(|(part, is)| (*part, sum(is) - was(part)));
            let grown: Vec<(Part, Money)> =
                grown.filter(|(_, grown)| *grown > Money::ZERO).collect();
            let all = (!grown.is_empty()).then(|| budget.standings(snapshot, now));
            grown.into_iter().filter_map(move |(part, grown)| {
                let all = all.as_ref()?.get(&part).map_or(Money::ZERO, sum);
                let by = all + grown - budget.total(part);
                (by.micros() > ROUNDING).then(|| Violation::OverBudget {
                    budget: format!("{}/{}", budget.policy, budget.name),
                    by,
                })
            })
        })
        .collect()
}

/// Each machine's part is rounded down to a micro-dollar, once more often in one count than in the
/// other: so many micro-dollars are no error.
const ROUNDING: i64 = 1_000;

/// What counts of some machines.
#[derive(Clone)]
struct Counts<'a> {
    snapshot: &'a Snapshot,
    machines: BTreeMap<MachineId, MachineView>,
    /// The rules of machines' builds.
    rules: BTreeMap<MachineId, Vec<Rule>>,
    bound: BTreeMap<BuildId, BoundView>,
    launches: Vec<(ImageIndex, Option<ProjectIndex>, Vec<Rule>)>,
}

impl<'a> Counts<'a> {
    /// These machines and their builds.
    fn of_these(snapshot: &'a Snapshot, these: &BTreeSet<MachineId>) -> Self {
        let machines = these.iter().filter_map(|id| {
            let machine = snapshot.machines.get(id)?;
            Some((*id, *machine))
        });
        let bound = snapshot.bound.iter();
        let bound = bound.filter(|(_, bound)| these.contains(&bound.machine));
        Self {
            snapshot,
            machines: machines.collect(),
            bound: bound.map(|(id, bound)| (*id, bound.clone())).collect(),
            rules: BTreeMap::new(),
            launches: Vec::new(),
        }
        .with_rules()
    }

    /// Everything there is.
    fn of_all(snapshot: &'a Snapshot, now: Timestamp) -> Self {
        let launches = snapshot.launches.iter();
        let launches = launches.filter(|launch| now < launch.at + LAUNCH_WINDOW);
        Self {
            snapshot,
            machines: snapshot.machines.clone(),
            bound: snapshot.bound.clone(),
            rules: BTreeMap::new(),
            launches: launches
                .map(|l| (l.image, l.project, l.rules.clone()))
                .collect(),
        }
        .with_rules()
    }

    fn with_rules(mut self) -> Self {
        for bound in self.bound.values().filter(|b| !b.rules.is_empty()) {
            let rules = self.rules.entry(bound.machine).or_default();
            rules.extend(&bound.rules);
        }
        self
    }
}

/// What there is when every action has been recorded.
fn after<'a>(
    snapshot: &'a Snapshot,
    mut counts: Counts<'a>,
    plan: &Plan,
    now: Timestamp,
) -> Counts<'a> {
    for action in &plan.actions {
        match action {
            Action::Bind { build, machine, .. } => counts.bind(*build, *machine, now),
            Action::Move {
                build,
                from,
                machine,
            } => counts.move_over(*build, *from, *machine),
            Action::Wake {
                machine,
                offering,
                claim,
            } => {
                counts.wake(*machine, *offering, now);
                if let Some((build, _)) = claim {
                    counts.bind(*build, *machine, now);
                }
            }
            Action::Launch {
                machine,
                image,
                offerings,
                claim,
                ..
            } => {
                counts.launch(*machine, *image, offerings, now);
                let class = claim.and_then(|(build, _)| class_of(snapshot, build));
                let (project, rules) = class.map_or((None, Vec::new()), |class| {
                    (Some(class.project), class.rules.clone())
                });
                counts.launches.push((*image, project, rules));
                if let Some((build, _)) = claim {
                    counts.bind(*build, *machine, now);
                }
            }
            // They use nothing; what they set free is not counted on.
            Action::Sleep { .. } | Action::GiveUp { .. } | Action::Drain { .. } => {}
        }
    }
    counts
}

fn class_of(snapshot: &Snapshot, build: BuildId) -> Option<&Class> {
    let queued = snapshot.queued.get(&build)?;
    snapshot.classes.get(&queued.class)
}

impl Counts<'_> {
    fn bind(&mut self, build: BuildId, id: MachineId, now: Timestamp) {
        let Some((machine, class)) = self
            .machines
            .get_mut(&id)
            .zip(class_of(self.snapshot, build))
        else {
            return;
        };
        if machine.project != Some(class.project) {
            // Who had it before has paid for its time until now.
            machine.meter.unbilled_since = now;
        }
        machine.project = Some(class.project);
        machine.phase = match machine.phase {
            Phase::Coming { .. } | Phase::Asleep(_) => Phase::Coming { claimed: true },
            Phase::Idle(_) | Phase::Busy | Phase::FallingAsleep | Phase::Ending => Phase::Busy,
        };
        self.rules.entry(id).or_default().extend(&class.rules);
        let bound = BoundView {
            machine: id,
            project: class.project,
            pipeline: class.pipeline.unwrap_or(PipelineId::from_bits(0)),
            rules: class.rules.clone(),
            began: None,
            timeout: class.timeout,
        };
        self.bound.insert(build, bound);
    }

    fn move_over(&mut self, build: BuildId, from: MachineId, id: MachineId) {
        let Some(mut bound) = self.bound.remove(&build) else {
            return;
        };
        if let Some(left) = self.machines.get_mut(&from) {
            left.claims = left.claims.saturating_sub(1);
            let claimed = left.claims > 0;
            left.phase = Phase::Coming { claimed };
        }
        let others = self.bound.values().filter(|other| other.machine == from);
        let rules = others.flat_map(|other| other.rules.clone()).collect();
        self.rules.insert(from, rules);
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.project = Some(bound.project);
            machine.phase = Phase::Busy;
        }
        self.rules.entry(id).or_default().extend(&bound.rules);
        bound.machine = id;
        self.bound.insert(build, bound);
    }

    fn wake(&mut self, id: MachineId, offering: usize, now: Timestamp) {
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        machine.phase = Phase::Coming { claimed: false };
        machine.meter = self.snapshot.meter(machine.image, &[offering], now);
    }

    fn launch(&mut self, id: MachineId, image: ImageIndex, places: &[usize], now: Timestamp) {
        let meter = self.snapshot.meter(image, places, now);
        let machine = MachineView {
            image,
            version: 0,
            price: meter.rate,
            market: Market::OnDemand,
            offering: None,
            is_interrupted: false,
            project: None,
            past: Past::default(),
            phase: Phase::Coming { claimed: false },
            created_at: now,
            builds_done: 0,
            claims: 0,
            free: 0,
            held_until: None,
            meter,
        };
        self.machines.insert(id, machine);
    }

    /// What counts against a limit: its name, the limit, and how much there is.
    fn of(&self, limit: &Limit) -> [(&'static str, Option<u64>, u64); 5] {
        let rules = |id: &MachineId| self.rules.get(id).map_or(&[][..], Vec::as_slice);
        let awake = self.machines.iter().filter(|(id, machine)| {
            !matches!(machine.phase, Phase::Asleep(_))
                && limit
                    .scope
                    .covers(machine.image, machine.project, rules(id))
        });
        let loads: Vec<Load> = awake.map(|(_, machine)| machine.load()).collect();
        let builds = self.bound.values().filter(|bound| {
            let machine = self.machines.get(&bound.machine);
            machine.is_some_and(|machine| {
                limit
                    .scope
                    .covers(machine.image, Some(bound.project), &bound.rules)
            })
        });
        let launches = self.launches.iter();
        let launches =
            launches.filter(|(image, project, rules)| limit.scope.covers(*image, *project, rules));
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let rate = |load: &Load| load.rate.micros_per_hour();
        let vcpus = loads.iter().map(|load| u64::from(load.vcpus)).sum();
        [
            (
                "machines",
                limit.machines.map(u64::from),
                number(loads.len()),
            ),
            ("vcpus", limit.vcpus.map(u64::from), vcpus),
            (
                "builds",
                limit.builds.map(u64::from),
                number(builds.count()),
            ),
            (
                "launches per hour",
                limit.launches_per_hour.map(u64::from),
                number(launches.count()),
            ),
            (
                "micro-dollars per hour",
                limit.cost_per_hour.map(Rate::micros_per_hour),
                loads.iter().map(rate).sum(),
            ),
        ]
    }

    /// Only what budgets look at.
    fn as_snapshot(&self) -> Snapshot {
        Snapshot {
            machines: self.machines.clone(),
            bound: self.bound.clone(),
            images: self.snapshot.images.clone(),
            ..Snapshot::default()
        }
    }
}
