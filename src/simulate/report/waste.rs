//! Machine time that no build got, by why.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Category, Money, Rate, Span, Timestamp};
use crate::simulate::{MachineLife, Outcome};

/// Why machine time went to no build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WasteReason {
    /// From the decision to launch to a machine that takes builds.
    Boot,
    /// Machines that never took a build, boots that failed among them.
    Unused,
    /// Ready, before the first build.
    BeforeFirst,
    /// Between two builds.
    Between,
    /// After the last build, the way out included.
    AfterLast,
    /// Attempts that were cut off.
    Retry,
}

impl WasteReason {
    /// A clause for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Boot => "boots",
            Self::Unused => "machines that ran no build",
            Self::BeforeFirst => "ready before the first build",
            Self::Between => "idle between builds",
            Self::AfterLast => "idle after the last build, and the end",
            Self::Retry => "builds cut off",
        }
    }
}

/// Machine time that no build got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Waste {
    /// Why.
    pub reason: WasteReason,
    /// How much, in microseconds.
    pub time: u64,
    /// What it cost, in micro-dollars, at the rates of the machines.
    pub cost: i64,
}

/// Sums it up over all machines, by reason.
///
/// Rates are those at which the machines ran; the ledger's entries are the exact account.
pub(super) fn waste(outcome: &Outcome) -> Vec<Waste> {
    let mut times: BTreeMap<WasteReason, BTreeMap<Rate, u64>> = BTreeMap::new();
    for machine in &outcome.machines {
        for (reason, time) in of_machine(machine) {
            let by_rate = times.entry(reason).or_default();
            *by_rate.entry(machine.rate).or_default() += time.micros();
        }
    }
    let cost = |(rate, micros): (&Rate, &u64)| rate.cost_of(Span::from_micros(*micros));
    let mut found: Vec<_> = times
        .iter()
        .map(|(reason, by_rate)| Waste {
            reason: *reason,
            time: by_rate.values().sum(),
            cost: by_rate.iter().map(cost).sum::<Money>().micros(),
        })
        .filter(|waste| waste.time > 0)
        .collect();
    let retry = |of: Option<u64>| of.unwrap_or(0);
    let time = retry(outcome.time.get(&Category::Retry).map(|time| time.micros()));
    if time > 0 {
        let money = outcome.money.get(&Category::Retry);
        found.push(Waste {
            reason: WasteReason::Retry,
            time,
            cost: money.map_or(0, |money| money.micros()),
        });
    }
    found
}

fn of_machine(machine: &MachineLife) -> Vec<(WasteReason, Span)> {
    let between = |from, to| awake(machine, from, to);
    let (Some(ready), Some((first, _))) = (machine.ready, machine.busy.first()) else {
        return vec![(WasteReason::Unused, between(machine.created, machine.gone))];
    };
    let mut found = vec![
        (WasteReason::Boot, between(machine.created, ready)),
        (WasteReason::BeforeFirst, between(ready, *first)),
    ];
    // Builds side by side overlap: what counts is when the last of them was over.
    let mut over = *first;
    for (from, to) in &machine.busy {
        found.push((WasteReason::Between, between(over, *from)));
        over = over.max(*to);
    }
    found.push((WasteReason::AfterLast, between(over, machine.gone)));
    found
}

/// How much of a stretch the machine ran.
fn awake(machine: &MachineLife, from: Timestamp, to: Timestamp) -> Span {
    let asleep: u64 = machine
        .asleep
        .iter()
        .map(|(asleep, woken)| (*woken).min(to).since((*asleep).max(from)).micros())
        .sum();
    Span::from_micros(to.since(from).micros().saturating_sub(asleep))
}
