//! One schedule of builds over machines, and what it costs.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Money, Span};

use super::{Case, Job, Kind, Work, minus, plus};

/// A machine of the schedule.
#[derive(Debug, Clone, Default)]
struct Up {
    kind: usize,
    /// When its boot began, if these builds pay for it.
    boots_from: Option<Span>,
    ready: Span,
    /// How long it had been paid for when all this began.
    age: Span,
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
pub(super) struct Schedule<'a> {
    work: &'a Work,
    case: Case,
    machines: Vec<Up>,
    /// Start and end by build.
    times: Vec<(Span, Span)>,
}

/// What a schedule costs.
pub(super) struct Costs {
    /// By build.
    pub(super) jobs: Vec<Money>,
    /// Machines that stand idle.
    pub(super) idle: Money,
    /// What is paid for in whole pieces and not used.
    pub(super) unused: Money,
}

impl<'a> Schedule<'a> {
    pub(super) fn make(work: &'a Work, case: Case) -> Self {
        let machines = work.given.iter().map(|given| {
            let ready = given.ready.get(case);
            Up {
                kind: given.kind,
                boots_from: given.pays_boot.then_some(Span::ZERO),
                age: given.age,
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
            let end = plus(start, self.length(job));
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

    /// How long a build has a machine: tries that fail, and the one that does not.
    fn length(&self, job: &Job) -> Span {
        plus(job.lost.get(self.case), job.run.get(self.case))
    }

    /// When a build gets its machine, and when it is over.
    pub(super) fn time(&self, place: usize) -> (Span, Span) {
        self.times.get(place).copied().unwrap_or_default()
    }

    /// When the first step of the try that counts begins.
    pub(super) fn begins(&self, place: usize) -> Span {
        let lost = self.work.jobs.get(place).map(|job| job.lost.get(self.case));
        plus(self.time(place).0, lost.unwrap_or_default())
    }

    /// When the last build is over.
    pub(super) fn ends(&self) -> Span {
        let ends = self.times.iter().map(|(_, end)| *end);
        ends.max().unwrap_or_default()
    }

    /// Gives a build that is ready at `at` a machine; when its first step begins.
    fn place(&mut self, place: usize, job: &Job, at: Span) -> Span {
        let known = job.given.filter(|given| *given < self.machines.len());
        let machine = known
            .or_else(|| self.idle(job, at))
            .or_else(|| self.launch(job, at))
            .or_else(|| self.next_free(|up| up.kind == job.kind))
            .unwrap_or_else(|| self.replace(job, at));
        let length = self.length(job);
        let Some(up) = self.machines.get_mut(machine) else {
            return at;
        };
        up.jobs.push(place);
        let start = at.max(up.ready).max(up.room_at());
        if let Some(slot) = up.slots.iter_mut().min() {
            *slot = plus(start, length);
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
    pub(super) fn costs(&self) -> Costs {
        let mut jobs = vec![Money::ZERO; self.work.jobs.len()];
        let (mut idle, mut unused) = (Money::ZERO, Money::ZERO);
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
            unused += kind.rate.cost_of(unused_of(kind, up, tail));
        }
        Costs { jobs, idle, unused }
    }
}

/// How much time is paid for beyond what a machine is there for. A piece that had begun before all
/// this is paid for anyway.
fn unused_of(kind: &Kind, up: &Up, tail: Span) -> Span {
    let from = up.boots_from.unwrap_or(Span::ZERO);
    let used = plus(up.age, minus(plus(up.free_at(), tail), from));
    let begun = match up.age {
        Span::ZERO => Span::ZERO,
        age => kind.billing.paid(age),
    };
    minus(kind.billing.paid(used), used.max(begun))
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
