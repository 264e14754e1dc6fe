//! What a pipeline would take and cost: a list schedule of its builds over the machines that it would
//! get.
//!
//! Builds are taken as they become ready, in document order. Each takes the machine that the plan
//! gave it, else the one of its kind that became idle last, else a new one, and waits only where
//! limits allow no more: as `place` would, with one image per build and nobody else's builds in the
//! way. It is done three times, with short, likely and long times. Pure. Caller: `engine`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{Money, Rate, Span, Timestamp};

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
    /// Idle time of the machines beside, if nobody else has builds for them.
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
    /// From now to its first step.
    pub start: Spread<Span>,
    /// From its first step to its end.
    pub run: Spread<Span>,
    /// What that is known from.
    pub basis: String,
    /// Its boot, if it waits for one, and its work.
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
    /// Idle time.
    pub idle: Spread<Money>,
}

/// What comes of one build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobEstimate {
    /// When its first step begins.
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

/// A machine of the schedule.
#[derive(Debug, Clone, Default)]
struct Up {
    kind: usize,
    /// When its boot began, if these builds pay for it.
    boots_from: Option<Span>,
    ready: Span,
    /// When each slot becomes free.
    slots: Vec<Span>,
    jobs: Vec<usize>,
    /// It made room for another.
    is_over: bool,
}

impl Up {
    /// When its last build is over.
    fn free_at(&self) -> Span {
        self.slots.iter().copied().max().unwrap_or(self.ready)
    }

    /// When it has room for one more.
    fn room_at(&self) -> Span {
        self.slots.iter().copied().min().unwrap_or(self.ready)
    }
}

/// One schedule.
struct Schedule<'a> {
    work: &'a Work,
    case: Case,
    machines: Vec<Up>,
    /// Start and end by build.
    times: Vec<(Span, Span)>,
}

/// What it takes and costs.
pub fn estimate(work: &Work) -> Estimate {
    let cases = [Case::Low, Case::Likely, Case::High].map(|case| Schedule::make(work, case));
    let costs = cases.each_ref().map(Schedule::costs);
    let time = |schedule: &Schedule<'_>, place| schedule.times.get(place).copied();
    let jobs = (0..work.jobs.len()).map(|place| {
        let times = cases
            .each_ref()
            .map(|case| time(case, place).unwrap_or_default());
        let cost = |costs: &Costs| costs.jobs.get(place).copied().unwrap_or_default();
        JobEstimate {
            start: Spread::of(times.map(|(start, _)| start)),
            end: Spread::of(times.map(|(_, end)| end)),
            cost: Spread::of(costs.each_ref().map(cost)),
        }
    });
    let last = |case: &Schedule<'_>| case.times.iter().map(|(_, end)| *end).max();
    let total = |costs: &Costs| costs.jobs.iter().copied().sum::<Money>();
    Estimate {
        jobs: jobs.collect(),
        took: Spread::of(cases.each_ref().map(|case| last(case).unwrap_or_default())),
        cost: Spread::of(costs.each_ref().map(total)),
        idle: Spread::of(costs.each_ref().map(|costs| costs.idle)),
    }
}

/// What a schedule costs.
struct Costs {
    /// By build.
    jobs: Vec<Money>,
    idle: Money,
}

impl<'a> Schedule<'a> {
    fn make(work: &'a Work, case: Case) -> Self {
        let machines = work.given.iter().map(|given| {
            let ready = given.ready.get(case);
            Up {
                kind: given.kind,
                boots_from: given.pays_boot.then_some(Span::ZERO),
                ready,
                slots: vec![ready; given.slots.max(1)],
                ..Up::default()
            }
        });
        let mut schedule = Self {
            work,
            case,
            machines: machines.collect(),
            times: vec![(Span::ZERO, Span::ZERO); work.jobs.len()],
        };
        schedule.run();
        schedule
    }

    fn run(&mut self) {
        let jobs = &self.work.jobs;
        let mut unmet: Vec<usize> = jobs.iter().map(|job| job.needs.len()).collect();
        let mut dependents: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, job) in jobs.iter().enumerate() {
            for need in &job.needs {
                dependents.entry(*need).or_default().push(place);
            }
        }
        let free = (0..jobs.len()).filter(|place| unmet.get(*place) == Some(&0));
        let mut ready: BTreeSet<(Span, usize)> = free.map(|place| (Span::ZERO, place)).collect();
        while let Some((at, place)) = ready.pop_first() {
            let Some(job) = jobs.get(place) else {
                continue;
            };
            let start = self.place(place, job, at);
            let end = plus(start, job.run.get(self.case));
            if let Some(times) = self.times.get_mut(place) {
                *times = (start, end);
            }
            for next in dependents.remove(&place).unwrap_or_default() {
                let (Some(left), Some(other)) = (unmet.get_mut(next), jobs.get(next)) else {
                    continue;
                };
                *left = left.saturating_sub(1);
                if *left == 0 {
                    let ends = other.needs.iter().filter_map(|need| self.times.get(*need));
                    let last = ends.map(|(_, end)| *end).max();
                    ready.insert((last.unwrap_or(end), next));
                }
            }
        }
    }

    /// Gives a build that is ready at `at` a machine; when its first step begins.
    fn place(&mut self, place: usize, job: &Job, at: Span) -> Span {
        let known = job.given.filter(|given| *given < self.machines.len());
        let machine = known
            .or_else(|| self.idle(job, at))
            .or_else(|| self.launch(job, at))
            .or_else(|| self.next_free(|up| up.kind == job.kind))
            .unwrap_or_else(|| self.replace(job, at));
        let run = job.run.get(self.case);
        let Some(up) = self.machines.get_mut(machine) else {
            return at;
        };
        up.jobs.push(place);
        let start = at.max(up.ready).max(up.room_at());
        if let Some(slot) = up.slots.iter_mut().min() {
            *slot = plus(start, run);
        }
        start
    }

    /// The machine of its kind that has room and became idle last.
    fn idle(&self, job: &Job, at: Span) -> Option<usize> {
        let machines = self.machines.iter().enumerate();
        let fitting = machines
            .filter(|(_, up)| up.kind == job.kind && up.room_at() <= at && self.is_up(up, at));
        let last = fitting.max_by_key(|(place, up)| (up.room_at(), usize::MAX - place));
        last.map(|(place, _)| place)
    }

    fn is_up(&self, up: &Up, at: Span) -> bool {
        let kind = self.work.kinds.get(up.kind);
        let idle = kind.map_or(Span::ZERO, |kind| kind.idle);
        !up.is_over && at <= plus(up.free_at(), idle)
    }

    fn launch(&mut self, job: &Job, at: Span) -> Option<usize> {
        let there = self.machines.iter().filter(|up| self.is_up(up, at)).count();
        if self.work.most.is_some_and(|most| there >= most.max(1)) {
            return None;
        }
        Some(self.add(job, at))
    }

    fn add(&mut self, job: &Job, from: Span) -> usize {
        let kind = self.work.kinds.get(job.kind);
        let boot = kind.map_or(Span::ZERO, |kind| kind.boot.get(self.case));
        let slots = kind.map_or(1, |kind| kind.slots.max(1));
        let ready = plus(from, boot);
        self.machines.push(Up {
            kind: job.kind,
            boots_from: Some(from),
            ready,
            slots: vec![ready; slots],
            ..Up::default()
        });
        self.machines.len() - 1
    }

    fn next_free(&self, fits: impl Fn(&Up) -> bool) -> Option<usize> {
        let machines = self.machines.iter().enumerate();
        let fitting = machines.filter(|(_, up)| !up.is_over && fits(up));
        let first = fitting.min_by_key(|(place, up)| (up.room_at(), *place));
        first.map(|(place, _)| place)
    }

    /// Launches when a machine of another kind has made room.
    fn replace(&mut self, job: &Job, at: Span) -> usize {
        let first = self.machines.iter_mut().filter(|up| !up.is_over);
        let from = first.min_by_key(|up| up.free_at()).map(|up| {
            up.is_over = true;
            up.free_at()
        });
        self.add(job, from.unwrap_or(at).max(at))
    }

    /// Boots go to the first build of a machine, work to those that run, by their length.
    fn costs(&self) -> Costs {
        let mut jobs = vec![Money::ZERO; self.work.jobs.len()];
        let mut idle = Money::ZERO;
        for up in self.machines.iter().filter(|up| !up.jobs.is_empty()) {
            let Some(kind) = self.work.kinds.get(up.kind) else {
                continue;
            };
            let times = |place: &usize| self.times.get(*place).copied();
            let mut ran: Vec<(Span, Span)> = up.jobs.iter().filter_map(times).collect();
            let boot = up
                .boots_from
                .map_or(Span::ZERO, |from| minus(up.ready, from));
            if let Some(first) = up.jobs.first().and_then(|first| jobs.get_mut(*first)) {
                *first += kind.rate.cost_of(boot);
            }
            let sum: u64 = ran
                .iter()
                .map(|(start, end)| minus(*end, *start).micros())
                .sum();
            ran.sort_unstable();
            let (busy, gaps) = busy(&ran);
            let busy_cost = kind.rate.cost_of(busy);
            for place in &up.jobs {
                let own = times(place).map_or(0, |(start, end)| minus(end, start).micros());
                let share = i128::from(busy_cost.micros()) * i128::from(own);
                let share = share.checked_div(i128::from(sum)).unwrap_or(0);
                if let Some(cost) = jobs.get_mut(*place) {
                    *cost += Money::from_micros(i64::try_from(share).unwrap_or(i64::MAX));
                }
            }
            let tail = if up.is_over { Span::ZERO } else { kind.idle };
            idle += kind.rate.cost_of(plus(gaps, tail));
        }
        Costs { jobs, idle }
    }
}

/// How long a machine is busy, and how long it is idle between its builds.
fn busy(sorted: &[(Span, Span)]) -> (Span, Span) {
    let (mut busy, mut gaps, mut until) = (Span::ZERO, Span::ZERO, None);
    for (start, end) in sorted {
        let from = until.unwrap_or(*start);
        gaps = plus(gaps, minus(*start, from));
        busy = plus(busy, minus(*end, (*start).max(from)));
        until = Some(from.max(*end));
    }
    (busy, gaps)
}

const fn plus(one: Span, other: Span) -> Span {
    Span::from_micros(one.micros().saturating_add(other.micros()))
}

const fn minus(one: Span, other: Span) -> Span {
    Span::from_micros(one.micros().saturating_sub(other.micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(low: u64, likely: u64, high: u64) -> Spread<Span> {
        Spread {
            low: Span::from_secs(low),
            likely: Span::from_secs(likely),
            high: Span::from_secs(high),
        }
    }

    fn job(needs: &[usize]) -> Job {
        Job {
            needs: needs.to_vec(),
            run: run(50, 100, 200),
            ..Job::default()
        }
    }

    /// Machines at a micro-dollar a second that boot in 10 s and go after a minute.
    fn work(jobs: &[&[usize]]) -> Work {
        Work {
            jobs: jobs.iter().map(|needs| job(needs)).collect(),
            kinds: vec![Kind {
                rate: Rate::from_micros_per_hour(3_600),
                boot: run(5, 10, 20),
                idle: Span::from_secs(60),
                slots: 1,
            }],
            ..Work::default()
        }
    }

    fn micros(low: i64, likely: i64, high: i64) -> Spread<Money> {
        Spread {
            low: Money::from_micros(low),
            likely: Money::from_micros(likely),
            high: Money::from_micros(high),
        }
    }

    #[test]
    fn a_chain_runs_on_one_machine_one_after_the_other() {
        let estimate = estimate(&work(&[&[], &[0], &[1]]));
        assert_eq!(estimate.took, run(155, 310, 620));
        assert_eq!(estimate.cost, micros(155, 310, 620));
        assert_eq!(estimate.idle, micros(60, 60, 60));
        assert_eq!(
            estimate.jobs[0].cost,
            micros(55, 110, 220),
            "it pays the boot"
        );
        assert_eq!(estimate.jobs[2].start, run(105, 210, 420));
    }

    #[test]
    fn what_fans_out_runs_side_by_side() {
        let estimate = estimate(&work(&[&[], &[0], &[0], &[0]]));
        // The first machine goes on at once, the others boot.
        assert_eq!(estimate.took, run(110, 220, 440));
        assert_eq!(estimate.jobs[1].start, run(55, 110, 220));
        assert_eq!(estimate.jobs[2].start, run(60, 120, 240));
        assert_eq!(estimate.cost, micros(215, 430, 860));
    }

    #[test]
    fn limited_machines_take_builds_in_turn() {
        let mut work = work(&[&[], &[], &[], &[]]);
        work.most = Some(2);
        let estimate = estimate(&work);
        assert_eq!(estimate.took, run(105, 210, 420));
        assert_eq!(estimate.cost, micros(210, 420, 840), "two boots, four runs");
        assert_eq!(estimate.idle, micros(120, 120, 120));
    }

    #[test]
    fn a_warm_machine_costs_no_boot_and_slots_share_their_price() {
        let mut work = work(&[&[], &[]]);
        work.given = vec![Given {
            slots: 2,
            ..Given::default()
        }];
        work.jobs[0].given = Some(0);
        work.jobs[1].given = Some(0);
        let estimate = estimate(&work);
        assert_eq!(estimate.took, run(50, 100, 200));
        assert_eq!(estimate.cost, micros(50, 100, 200));
        assert_eq!(estimate.jobs[1].cost, micros(25, 50, 100));
    }

    #[test]
    fn another_kind_waits_for_room_and_boots_then() {
        let mut work = work(&[&[], &[]]);
        work.kinds.push(work.kinds[0].clone());
        work.jobs[1].kind = 1;
        work.most = Some(1);
        let estimate = estimate(&work);
        assert_eq!(estimate.jobs[1].start, run(60, 120, 240));
        assert_eq!(
            estimate.idle,
            micros(60, 60, 60),
            "the first makes room at once"
        );
    }
}
