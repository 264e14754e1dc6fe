//! Checks that a plan keeps limits and budgets, by counting anew what there is after it.

use std::collections::BTreeMap;

use crate::model::{BuildId, MachineId, Market, PipelineId, Rate, Timestamp};

use super::audit::Violation;
use super::limits::{self, LAUNCH_WINDOW, Limit, Load, Rule};
use super::plan::{Action, Plan};
use super::snapshot::{
    BoundView, Class, ImageIndex, MachineView, Past, Phase, ProjectIndex, Snapshot,
};

/// The limits that are exceeded after a plan, and more so than before it; and such budgets.
pub(super) fn over_limits(snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> Vec<Violation> {
    let before = count(snapshot);
    let after = after(snapshot, plan, now);
    let limits = snapshot.limits.iter();
    let mut violations: Vec<Violation> = limits
        .flat_map(|limit| {
            let counts = before.of(limit).into_iter().zip(after.of(limit));
            counts.filter_map(|((quota, most, before), (_, _, planned))| {
                let max = most?;
                (planned > max && planned > before).then(|| Violation::OverLimit {
                    limit: limit.name.clone(),
                    quota,
                    max,
                    planned,
                })
            })
        })
        .collect();
    violations.extend(over_budgets(snapshot, &after, now));
    violations
}

/// Budgets whose spent and committed money exceeds them by more than before the plan.
fn over_budgets(snapshot: &Snapshot, after: &Counts<'_>, now: Timestamp) -> Vec<Violation> {
    if snapshot.budgets.is_empty() {
        return Vec::new();
    }
    let planned = after.as_snapshot();
    let budgets = snapshot.budgets.iter().filter(|budget| !budget.is_cap());
    budgets
        .flat_map(|budget| {
            let before = budget.standings(snapshot, now);
            let planned = budget.standings(&planned, now);
            planned.into_iter().filter_map(move |(part, standing)| {
                let was = before.get(&part).cloned().unwrap_or_default();
                let (was, is) = (
                    was.spent + was.committed,
                    standing.spent + standing.committed,
                );
                let by = is - budget.total(part);
                (by.micros() > ROUNDING && is > was).then(|| Violation::OverBudget {
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

/// Everything that counts.
struct Counts<'a> {
    snapshot: &'a Snapshot,
    machines: BTreeMap<MachineId, MachineView>,
    /// The rules of machines' builds.
    rules: BTreeMap<MachineId, Vec<Rule>>,
    bound: BTreeMap<BuildId, BoundView>,
    launches: Vec<(Timestamp, ImageIndex, Option<ProjectIndex>, Vec<Rule>)>,
    since: Timestamp,
}

fn count(snapshot: &Snapshot) -> Counts<'_> {
    Counts {
        snapshot,
        machines: snapshot.machines.clone(),
        rules: limits::rules_by_machine(snapshot),
        bound: snapshot.bound.clone(),
        launches: snapshot
            .launches
            .iter()
            .map(|l| (l.at, l.image, l.project, l.rules.clone()))
            .collect(),
        since: Timestamp::from_micros(i64::MIN),
    }
}

/// What there is when every action has been recorded.
fn after<'a>(snapshot: &'a Snapshot, plan: &Plan, now: Timestamp) -> Counts<'a> {
    let mut counts = count(snapshot);
    counts.since = now - LAUNCH_WINDOW;
    for action in &plan.actions {
        match action {
            Action::Bind { build, machine, .. } => counts.bind(*build, *machine, now),
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
                counts.launches.push((now, *image, project, rules));
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
        let launches = self.launches.iter().filter(|(at, image, project, rules)| {
            *at > self.since && limit.scope.covers(*image, *project, rules)
        });
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
