//! What a pipeline would take and cost: a list schedule of its builds over the machines that it would
//! get.
//!
//! Builds are taken as they become ready, in document order. Each takes the machine that the plan
//! gave it, else the one of its kind that became idle last, else a new one, and waits only where
//! limits allow no more: as `place` would, with one image per build and nobody else's builds in the
//! way. It is done three times, with short, likely and long times (`schedule`). What is lost to
//! machines that fail under builds is in their time (`retries`). Pure. Caller: `engine`.

mod retries;
mod schedule;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::model::{Billing, Money, Rate, Span, Timestamp};

pub use retries::Retries;
use schedule::{Costs, Schedule};

/// A figure with its range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread<T> {
    /// Seldom less.
    pub low: T,
    /// As often less as more.
    pub likely: T,
    /// Seldom more.
    pub high: T,
}

/// What a submission would become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The moment it was made for.
    pub at: Timestamp,
    /// Its builds, in document order.
    pub builds: Vec<QuotedBuild>,
    /// From now to the end of the last build.
    pub took: Spread<Span>,
    /// Boots and work of all builds.
    pub cost: Spread<Money>,
    /// Idle time of the machines beside, if nobody else has builds for them, and what is paid for in
    /// whole pieces and not used.
    pub idle: Spread<Money>,
    /// Machines that would be launched or woken at once.
    pub launches: u32,
    /// Budgets that would hold builds back, each with its figures.
    pub held_by: Vec<String>,
    /// What else to know.
    pub notes: Vec<String>,
}

/// What one build would become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotedBuild {
    /// Its name.
    pub name: String,
    /// Where it would run, or why it would wait.
    pub place: String,
    /// The price of the machine.
    pub price: Option<Rate>,
    /// From now to the first step of the try that counts.
    pub start: Spread<Span>,
    /// From its first step to its end.
    pub run: Spread<Span>,
    /// What that is known from.
    pub basis: String,
    /// Its boot, if it waits for one, and its work, with tries that fail.
    pub cost: Spread<Money>,
}

/// What is to be done, and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// The builds, each behind those that it needs.
    pub jobs: Vec<Job>,
    /// Kinds of machines.
    pub kinds: Vec<Kind>,
    /// Machines that the plan gives them.
    pub given: Vec<Given>,
    /// Most machines at once; none for as many as wanted.
    pub most: Option<usize>,
}

/// A build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// Places of the builds that it needs.
    pub needs: Vec<usize>,
    /// How long it runs.
    pub run: Spread<Span>,
    /// Machine time of tries before that, which fail for reasons of infrastructure.
    pub lost: Spread<Span>,
    /// The kind of machine that is launched for it.
    pub kind: usize,
    /// The machine that it has, by place.
    pub given: Option<usize>,
}

/// A kind of machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kind {
    /// What one costs.
    pub rate: Rate,
    /// How long one boots.
    pub boot: Spread<Span>,
    /// How long one stands idle before it goes.
    pub idle: Span,
    /// Builds that one runs side by side.
    pub slots: usize,
    /// In which pieces one is paid for.
    pub billing: Billing,
}

/// A machine that is there or on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Its kind.
    pub kind: usize,
    /// When it is ready.
    pub ready: Spread<Span>,
    /// Whether its boot is paid for by these builds.
    pub pays_boot: bool,
    /// How long it has been paid for without a break.
    pub age: Span,
    /// Builds that it has room for.
    pub slots: usize,
}

/// What comes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Estimate {
    /// By place of the build.
    pub jobs: Vec<JobEstimate>,
    /// To the end of the last.
    pub took: Spread<Span>,
    /// Boots and work.
    pub cost: Spread<Money>,
    /// Idle time, and what is paid for and not used.
    pub idle: Spread<Money>,
    /// What is paid for and not used, among it.
    pub unused: Spread<Money>,
}

/// What comes of one build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobEstimate {
    /// When the first step of the try that counts begins.
    pub start: Spread<Span>,
    /// When it is over.
    pub end: Spread<Span>,
    /// Its boot and work.
    pub cost: Spread<Money>,
}

impl<T: Copy + Ord> Spread<T> {
    /// The same figure thrice.
    pub const fn exactly(value: T) -> Self {
        Self {
            low: value,
            likely: value,
            high: value,
        }
    }

    /// From three figures in any order: more time for one build may make all of them end sooner
    /// (Graham 1969).
    fn of(mut values: [T; 3]) -> Self {
        values.sort_unstable();
        let [low, likely, high] = values;
        Self { low, likely, high }
    }

    const fn get(&self, case: Case) -> T {
        match case {
            Case::Low => self.low,
            Case::Likely => self.likely,
            Case::High => self.high,
        }
    }
}

/// Which figures are taken.
#[derive(Debug, Clone, Copy)]
enum Case {
    Low,
    Likely,
    High,
}

/// What it takes and costs.
pub fn estimate(work: &Work) -> Estimate {
    let cases = [Case::Low, Case::Likely, Case::High].map(|case| Schedule::make(work, case));
    let costs = cases.each_ref().map(Schedule::costs);
    let jobs = (0..work.jobs.len()).map(|place| {
        let times = cases.each_ref().map(|case| case.time(place));
        let cost = |costs: &Costs| costs.jobs.get(place).copied().unwrap_or_default();
        JobEstimate {
            start: Spread::of(cases.each_ref().map(|case| case.begins(place))),
            end: Spread::of(times.map(|(_, end)| end)),
            cost: Spread::of(costs.each_ref().map(cost)),
        }
    });
    let total = |costs: &Costs| costs.jobs.iter().copied().sum::<Money>();
    Estimate {
        jobs: jobs.collect(),
        took: Spread::of(cases.each_ref().map(Schedule::ends)),
        cost: Spread::of(costs.each_ref().map(total)),
        idle: Spread::of(costs.each_ref().map(|costs| costs.idle + costs.unused)),
        unused: Spread::of(costs.each_ref().map(|costs| costs.unused)),
    }
}

const fn plus(one: Span, other: Span) -> Span {
    Span::from_micros(one.micros().saturating_add(other.micros()))
}

const fn minus(one: Span, other: Span) -> Span {
    Span::from_micros(one.micros().saturating_sub(other.micros()))
}
