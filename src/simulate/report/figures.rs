//! The figures of one outcome.

use std::collections::BTreeMap;

use serde::Serialize;

use super::waste::{Waste, waste};
use crate::model::{Category, Money, Span, Timestamp};
use crate::simulate::optimum::Optimum;
use crate::simulate::trace::Recorded;
use crate::simulate::{MachineLife, Outcome, Work};

/// Points of a chart over time: one every three hours and a half in a month.
const SAMPLES: u64 = 192;

/// Points of a distribution of waits, beside its ends.
const STEPS: usize = 100;

/// Everything about a run of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where the history comes from.
    pub history: String,
    /// What was taken for granted, a sentence each.
    pub notes: Vec<String>,
    /// Builds in it.
    pub builds: usize,
    /// When the first was submitted.
    pub from: Timestamp,
    /// When the last was submitted.
    pub to: Timestamp,
    /// How long builds waited in real life, if the history says so.
    pub recorded: Option<Waits>,
    /// What the clairvoyant pays.
    pub optimum: Split,
    /// Whether that is the least possible, or a bound below it.
    pub optimum_is_exact: bool,
    /// Sets of policies and other schedulers.
    pub columns: Vec<Column>,
}

/// What came of one set of policies, or of another scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Short, unique.
    pub name: String,
    /// What it does, with its parameters.
    pub about: String,
    /// Whether it is a model of another scheduler.
    pub is_baseline: bool,
    /// What came of it.
    pub figures: Figures,
    /// Compared with the clairvoyant.
    pub ratios: Ratios,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Money.
    pub cost: Split,
    /// Money and time that no build got, by reason.
    pub waste: Vec<Waste>,
    /// How long builds waited from their submission to their first step.
    pub waits: Waits,
    /// Builds of a thousand that waited for a machine to boot or to wake.
    pub cold_per_mille: u64,
    /// Builds by result.
    pub results: BTreeMap<String, u64>,
    /// Builds that took more than one attempt.
    pub retried: u64,
    /// Machines launched.
    pub machines: u64,
    /// Most machines that ran at once.
    pub most_at_once: u64,
    /// Machines over time.
    pub samples: Vec<Sample>,
    /// Waits by share of builds, in per mille: `(per mille, microseconds)`, ascending.
    pub distribution: Vec<(u64, u64)>,
    /// Decisions made.
    pub passes: u64,
    /// Hash over all that happened, for comparing runs.
    pub hash: String,
}

/// Money by what it was spent on, in micro-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Split {
    /// All of it.
    pub total: i64,
    /// Builds.
    pub work: i64,
    /// Machines on their way up.
    pub boot: i64,
    /// Machines that waited for builds.
    pub idle: i64,
    /// Machines on their way out.
    pub drain: i64,
    /// Builds that were cut off and began again.
    pub retry: i64,
}

impl Split {
    /// Everything but builds.
    pub const fn overhead(self) -> i64 {
        self.total - self.work
    }

    fn of(money: &BTreeMap<Category, Money>) -> Self {
        let part = |category| {
            money
                .get(&category)
                .copied()
                .unwrap_or(Money::ZERO)
                .micros()
        };
        Self {
            total: money.values().copied().sum::<Money>().micros(),
            work: part(Category::Work),
            boot: part(Category::Boot),
            idle: part(Category::Idle),
            drain: part(Category::Drain),
            retry: part(Category::Retry),
        }
    }

    /// Of the clairvoyant, whose overhead is not told apart.
    pub fn of_optimum(optimum: &Optimum) -> Self {
        Self {
            total: (optimum.work + optimum.overhead).micros(),
            work: optimum.work.micros(),
            idle: optimum.overhead.micros(),
            ..Self::default()
        }
    }
}

/// How long builds waited, in microseconds. Quantiles are values that occurred (nearest rank).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// Builds that began.
    pub builds: usize,
    /// All waits together.
    pub total: u64,
    /// Half of the builds waited no longer.
    pub p50: u64,
    /// 95 of a hundred.
    pub p95: u64,
    /// 99 of a hundred.
    pub p99: u64,
    /// The longest.
    pub longest: u64,
}

impl Waits {
    fn of(waits: &mut [u64]) -> Self {
        waits.sort_unstable();
        Self {
            builds: waits.len(),
            total: waits.iter().sum(),
            p50: quantile(waits, 500),
            p95: quantile(waits, 950),
            p99: quantile(waits, 990),
            longest: quantile(waits, 1_000),
        }
    }
}

/// The value at a rank of a thousand; 0 of nothing.
fn quantile(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Machines at a time: means over the stretch until the next sample, in thousandths of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Begin of the stretch.
    pub at: Timestamp,
    /// Machines with a build.
    pub busy: u64,
    /// Machines that run without one.
    pub idle: u64,
}

/// Compared with the clairvoyant, in per mille; none when that pays nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ratios {
    /// Overhead by its overhead.
    pub overhead: Option<u64>,
    /// Cost by its cost.
    pub cost: Option<u64>,
}

/// Compares a run with the clairvoyant.
pub fn ratios(cost: &Split, optimum: &Split) -> Ratios {
    Ratios {
        overhead: per_mille(cost.overhead(), optimum.overhead()),
        cost: per_mille(cost.total, optimum.total),
    }
}

fn per_mille(part: i64, whole: i64) -> Option<u64> {
    let scaled = i128::from(part) * 1_000;
    u64::try_from(scaled.checked_div(i128::from(whole))?).ok()
}

/// The figures of an outcome.
pub fn figures(work: &[Work], outcome: &Outcome) -> Figures {
    let mut waits: Vec<u64> = outcome
        .builds
        .iter()
        .filter_map(|build| {
            let submit = work.get(build.work)?.submit;
            Some(build.started?.since(submit).micros())
        })
        .collect();
    let mut results: BTreeMap<String, u64> = BTreeMap::new();
    for build in &outcome.builds {
        *results.entry(build.result.word().to_owned()).or_default() += 1;
    }
    let count = |found: usize| u64::try_from(found).unwrap_or(u64::MAX);
    let cold = outcome.builds.iter().filter(|build| build.cold).count();
    let waits_of = Waits::of(&mut waits);
    Figures {
        cost: Split::of(&outcome.money),
        waste: waste(outcome),
        waits: waits_of,
        cold_per_mille: count(cold * 1_000 / outcome.builds.len().max(1)),
        results,
        retried: count(
            outcome
                .builds
                .iter()
                .filter(|build| build.attempts > 1)
                .count(),
        ),
        machines: count(outcome.machines.len()),
        most_at_once: most_at_once(&outcome.machines),
        samples: samples(&outcome.machines),
        distribution: distribution(&waits),
        passes: outcome.passes,
        hash: format!("{:016x}", outcome.hash),
    }
}

/// How long builds waited in real life; none when the history does not say.
pub fn recorded_waits(history: &[Recorded]) -> Option<Waits> {
    let mut waits: Vec<u64> = history
        .iter()
        .filter_map(|build| Some(build.started?.since(build.work.submit).micros()))
        .collect();
    (!waits.is_empty()).then(|| Waits::of(&mut waits))
}

fn distribution(sorted: &[u64]) -> Vec<(u64, u64)> {
    if sorted.is_empty() {
        return Vec::new();
    }
    let steps = (0..=STEPS)
        .map(|step| step * 1_000 / STEPS)
        .chain([995, 999]);
    let mut points: Vec<_> = steps
        .map(|per_mille| {
            let share = u64::try_from(per_mille).unwrap_or(0);
            (share, quantile(sorted, per_mille))
        })
        .collect();
    points.sort_unstable();
    points
}

/// When a machine runs, asleep stretches left out.
fn awake(machine: &MachineLife) -> Vec<(Timestamp, Timestamp)> {
    let mut stretches = Vec::new();
    let mut from = machine.created;
    for (asleep, woken) in &machine.asleep {
        stretches.push((from, *asleep));
        from = *woken;
    }
    stretches.push((from, machine.gone));
    stretches.retain(|(from, to)| from < to);
    stretches
}

fn most_at_once(machines: &[MachineLife]) -> u64 {
    // Ends sort before starts of the same moment.
    let mut steps: Vec<(Timestamp, i64)> = machines
        .iter()
        .flat_map(awake)
        .flat_map(|(from, to)| [(from, 1), (to, -1)])
        .collect();
    steps.sort_unstable();
    let running = steps.iter().scan(0_i64, |running, (_, step)| {
        *running += step;
        Some(*running)
    });
    running
        .max()
        .and_then(|most| u64::try_from(most).ok())
        .unwrap_or(0)
}

fn samples(machines: &[MachineLife]) -> Vec<Sample> {
    let begin = machines.iter().map(|machine| machine.created).min();
    let end = machines.iter().map(|machine| machine.gone).max();
    let (Some(begin), Some(end)) = (begin, end) else {
        return Vec::new();
    };
    let width = Span::from_micros((end.since(begin).micros() / SAMPLES).max(1));
    let mut running = Bins::new(begin, width);
    let mut busy = Bins::new(begin, width);
    for machine in machines {
        for stretch in awake(machine) {
            running.add(stretch);
        }
        for stretch in &machine.busy {
            busy.add(*stretch);
        }
    }
    let mut at = begin;
    let pairs = running.mean().into_iter().zip(busy.mean());
    pairs
        .map(|(running, busy)| {
            let sample = Sample {
                at,
                busy,
                idle: running.saturating_sub(busy),
            };
            at = at + width;
            sample
        })
        .collect()
}

/// Machine time by stretch of time.
#[derive(Debug)]
struct Bins {
    begin: Timestamp,
    width: Span,
    micros: Vec<u64>,
}

impl Bins {
    fn new(begin: Timestamp, width: Span) -> Self {
        let bins = usize::try_from(SAMPLES).unwrap_or(0) + 1;
        Self {
            begin,
            width,
            micros: vec![0; bins],
        }
    }

    fn add(&mut self, (from, to): (Timestamp, Timestamp)) {
        let mut at = from;
        while at < to {
            let bin = at.since(self.begin).micros() / self.width.micros();
            let next = self.begin + Span::from_micros((bin + 1) * self.width.micros());
            let until = to.min(next);
            let Some(micros) = usize::try_from(bin)
                .ok()
                .and_then(|bin| self.micros.get_mut(bin))
            else {
                return;
            };
            *micros += until.since(at).micros();
            at = until;
        }
    }

    /// In thousandths of a machine.
    fn mean(&self) -> Vec<u64> {
        let mean = |micros: &u64| micros.saturating_mul(1_000) / self.width.micros();
        self.micros.iter().map(mean).collect()
    }
}
