//! Feeds the forecast from what happens, and makes of it what the planner has to know: how long each
//! idle machine may stand so, which floors hold, and which builds need capacity that is not taken
//! back.
//!
//! What depends on the time is made by [`Books::look_ahead`], which has to be called before each pass
//! of the planner; the snapshot says when the next such change is due.

use std::collections::{BTreeMap, BTreeSet};

use crate::forecast::{
    Begun, BootOf, DEFAULT_BOOT, Floor, Forecast, Stakes, choose_timeout, floors_at,
};
use crate::ledger;
use crate::model::{
    Attempt, AttemptId, AttemptState, Boot, BuildId, BuildState, Category, Entry, IdleTimeout,
    Machine, MachineState, Market, MarketChoice, Money, Outcome, Pool, Rate, Reason, SleepKind,
    Span, Timestamp, Warm,
};
use crate::planner::{Ceiling, FloorWhy, Floors, IdleTerms, IdleWhy, ImageIndex};
use crate::policy::{self, Terms};
use crate::store::PastAttempt;

use super::books::Books;

const DAY: i64 = 24 * 3_600 * 1_000_000;
const DAY_SECS: u64 = 24 * 3_600;
const HOUR: i64 = 3_600 * 1_000_000;

/// What is learnt, and what it is needed for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Learning {
    pub(crate) forecast: Forecast,
    /// Attempts under way, by when their machines' places became free.
    begun: BTreeMap<AttemptId, Begun>,
    /// What policies say of idle machines, by image and project.
    idle: BTreeMap<(String, Option<String>), IdleKnobs>,
    /// What standing by has cost, by image: the day since 1970, and how much.
    standby: BTreeMap<String, (i64, Money)>,
    /// What policies want to be at hand.
    warm: BTreeMap<ImageIndex, Wanted>,
    /// Until when the floors of the snapshot hold; none when they have to be made anew.
    floors_until: Option<Timestamp>,
    /// Queued builds that need surer capacity from then on.
    surer: BTreeSet<(Timestamp, BuildId)>,
    /// The time, as far as the books have been told.
    pub(super) now: Timestamp,
}

/// What policies say of an idle machine.
#[derive(Debug, Clone, Copy)]
struct IdleKnobs {
    timeout: IdleTimeout,
    value_of_wait: Rate,
    sleeps: bool,
}

/// What policies want of an image to be at hand.
#[derive(Debug, Clone)]
struct Wanted {
    image: String,
    warm: Warm,
    value_of_wait: Rate,
    sleep: SleepKind,
}

/// What was before this process, for [`Books::remember`].
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// Attempts, in any order.
    pub(crate) attempts: Vec<PastAttempt>,
    /// Machines that are gone or on their way out.
    pub(crate) ended: Vec<Machine>,
    /// What standing by has cost today, by image.
    pub(crate) standby: BTreeMap<String, Money>,
}

/// Why spare capacity will not do for a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Surer {
    /// It is its last retry.
    LastRetry,
    /// It takes long.
    Long,
    /// Its deadline is near.
    Deadline,
    /// Spare capacity is taken back too often.
    Risky,
}

impl Surer {
    /// As a clause of what a build needs.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::LastRetry => "for a last retry",
            Self::Long => "on-demand, for it takes long",
            Self::Deadline => "on-demand, for its deadline is near",
            Self::Risky => "on-demand, for spare capacity was taken back often",
        }
    }
}

/// When a machine began to come up, and whether it was asleep before.
pub(super) fn coming_since(machine: &Machine) -> Option<(Timestamp, bool)> {
    match machine.state {
        MachineState::Intended { .. } | MachineState::Booting { .. } => {
            Some((machine.created_at, false))
        }
        // A wake that changed its build counts from then: shorter than it was, and rare.
        MachineState::Waking { .. } => Some((machine.since, true)),
        MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => None,
    }
}

/// What this entry of the ledger costs for standing by: idle time, and boots that no build caused.
const fn standby_cost(entry: &Entry) -> Money {
    match (entry.category, entry.build) {
        (Category::Idle, _) | (Category::Boot, None) => entry.amount,
        (Category::Boot, Some(_)) | (Category::Work | Category::Retry | Category::Drain, _) => {
            Money::ZERO
        }
    }
}

impl Books {
    /// Learns from what was before this process.
    pub(crate) fn remember(&mut self, history: History, now: Timestamp) {
        self.learning.now = now;
        self.learning.standby = history
            .standby
            .into_iter()
            .map(|(image, cost)| (image, (now.micros().div_euclid(DAY), cost)))
            .collect();
        let open = self.machines.values().cloned();
        let mut machines: Vec<Machine> = history.ended.into_iter().chain(open).collect();
        machines.sort_by_key(|machine| (machine.boot.map(|boot| boot.at), machine.id));
        for machine in &machines {
            self.learn_boot(machine);
            self.learn_spare_boot(machine);
        }
        machines.sort_by_key(|machine| (machine.since, machine.id));
        for machine in &machines {
            self.learn_end(machine);
        }
        self.learn_attempts(&history.attempts);
        for machine in machines {
            self.note_idle(&machine);
        }
    }

    /// Counts for the ceiling of the day what the boot of a machine cost that no build asked for.
    fn learn_spare_boot(&mut self, machine: &Machine) {
        let now = self.learning.now;
        let Some(boot) = machine.boot.filter(|boot| !boot.was_asleep) else {
            return;
        };
        let day = now.micros().div_euclid(DAY);
        let begun = boot.at - boot.took;
        let took = boot.at.since(begun.max(Timestamp::from_micros(day * DAY)));
        if machine.launched_for.is_none() && took > Span::ZERO {
            let image = self.learning.standby.entry(machine.image.clone());
            let of_day = image.or_insert((day, Money::ZERO));
            of_day.1 += machine.shape.price_usd_micro_per_hour.cost_of(took);
        }
    }

    /// Goes through past attempts as they began and ended.
    fn learn_attempts(&mut self, attempts: &[PastAttempt]) {
        // One that ends frees its place for one that begins in the same moment.
        let mut steps: Vec<(Timestamp, u8, usize)> = Vec::new();
        for (place, past) in attempts.iter().enumerate() {
            let begun = past.attempt.bound_at;
            steps.push((begun, 1, place));
            if let AttemptState::Finished { at, .. } = past.attempt.state {
                steps.push((at, if at > begun { 0 } else { 2 }, place));
            }
        }
        steps.sort_unstable();
        for (_, kind, place) in steps {
            let Some(past) = attempts.get(place) else {
                continue;
            };
            if kind == 1 {
                self.learn_begun(&past.attempt, &past.image);
            } else {
                self.learn_ended(past);
            }
        }
    }

    /// A build was bound to a machine.
    pub(super) fn learn_bound(&mut self, attempt: &Attempt) {
        let machine = self.machines.get(&attempt.machine);
        if let Some(image) = machine.map(|machine| machine.image.clone()) {
            self.learn_begun(attempt, &image);
        }
    }

    fn learn_begun(&mut self, attempt: &Attempt, image: &str) {
        let forecast = &mut self.learning.forecast;
        let begun = forecast.bound(image, attempt.number == 1, attempt.bound_at);
        self.learning.begun.insert(attempt.id, begun);
    }

    /// An attempt is over, of a build and on a machine that are still in the books.
    pub(super) fn learn_over(&mut self, attempt: &Attempt) {
        let machine = self.machines.get(&attempt.machine);
        let build = self.builds.get(&attempt.build);
        let (Some(machine), Some(build)) = (machine, build) else {
            self.learning.begun.remove(&attempt.id);
            return;
        };
        let past = PastAttempt {
            attempt: attempt.clone(),
            project: build.spec.project.clone(),
            build: build.spec.name.clone(),
            image: machine.image.clone(),
        };
        self.learn_ended(&past);
    }

    fn learn_ended(&mut self, past: &PastAttempt) {
        let attempt = &past.attempt;
        let (Some(begun), AttemptState::Finished { outcome, at }) =
            (self.learning.begun.remove(&attempt.id), &attempt.state)
        else {
            return;
        };
        let (has_run, is_whole) = match outcome {
            Outcome::Exited(_) => (true, true),
            Outcome::TimedOut
            | Outcome::Canceled
            | Outcome::Infrastructure(_)
            | Outcome::Interrupted(_) => (true, false),
            Outcome::NotLaunched(_) => (false, false),
        };
        let forecast = &mut self.learning.forecast;
        forecast.ended(&past.image, begun, has_run, *at);
        let started = attempt
            .steps
            .first()
            .map_or(begun.at, |step| step.started_at);
        if is_whole {
            let took = at.since(started);
            forecast
                .durations
                .learn(&past.project, &past.build, took, *at);
        }
    }

    /// A machine became ready, or is gone.
    pub(super) fn learn_machine(&mut self, machine: &Machine, is_up: bool) {
        if is_up {
            self.learn_boot(machine);
        }
        if matches!(machine.state, MachineState::Gone { .. }) {
            self.learn_end(machine);
        }
    }

    fn learn_boot(&mut self, machine: &Machine) {
        let Some(Boot {
            at,
            took,
            was_asleep,
        }) = machine.boot
        else {
            return;
        };
        let boot = BootOf {
            image: &machine.image,
            version: machine.image_version,
            shape: &machine.shape.name,
            was_asleep,
        };
        self.learning.forecast.boots.learn(&boot, took, at);
    }

    fn learn_end(&mut self, machine: &Machine) {
        let MachineState::Gone { reason } = &machine.state else {
            return;
        };
        if machine.market == Market::Spot && machine.boot.is_some() {
            let lived = machine.since.since(machine.created_at);
            let is_taken_back = matches!(reason, Reason::Interrupted(_));
            let pool = (machine.provider.as_str(), &machine.pool());
            let seen = &mut self.learning.forecast.interruptions;
            seen.learn(pool, lived, is_taken_back, machine.since);
        }
    }

    /// Money was spent.
    pub(super) fn learn_entry(&mut self, entry: &Entry) {
        let cost = standby_cost(entry);
        if cost == Money::ZERO {
            return;
        }
        let day = entry.to.micros().div_euclid(DAY);
        let begin = Timestamp::from_micros(day * DAY);
        // One that began before midnight counts for its day with what came after.
        let cost = ledger::between(entry, begin, begin + Span::from_secs(DAY_SECS));
        let image = self.learning.standby.entry(entry.image.clone());
        let of_day = image.or_insert((day, Money::ZERO));
        if of_day.0 != day {
            *of_day = (day, Money::ZERO);
        }
        of_day.1 += cost;
        if !self.learning.warm.is_empty() {
            self.learning.floors_until = None;
        }
    }

    /// Policies or images have changed.
    pub(super) fn forget_terms(&mut self) {
        self.learning.idle.clear();
        self.learning.floors_until = None;
        self.learning.warm.clear();
        let images: Vec<String> = self.current_images().map(|i| i.name.clone()).collect();
        for image in images {
            let terms = self.terms(&image);
            if terms.warm.windows.is_empty() && !terms.warm.forecast {
                continue;
            }
            let index = self.index_of(&image);
            let sleep = self.sleep_for_floor(&image, &terms);
            let wanted = Wanted {
                image,
                warm: terms.warm,
                value_of_wait: terms.value_of_wait,
                sleep,
            };
            self.learning.warm.insert(index, wanted);
        }
        let machines: Vec<Machine> = self.machines.values().cloned().collect();
        for machine in machines {
            self.note_idle(&machine);
        }
    }

    /// How spares are put to sleep: as idle machines are, else plainly; never where nothing can sleep.
    fn sleep_for_floor(&self, image: &str, terms: &Terms) -> SleepKind {
        let wanted = match terms.sleep {
            SleepKind::Never => SleepKind::Stop,
            kind @ (SleepKind::Stop | SleepKind::Hibernate) => kind,
        };
        let only_spot = terms.market == MarketChoice::Spot;
        if only_spot {
            SleepKind::Never
        } else {
            self.sleep_of(image, wanted)
        }
    }

    /// Keeps in step what the planner knows of how long a machine may stand idle. That is decided when
    /// it becomes idle, from the gaps that began in the same hour of past weeks.
    pub(super) fn note_idle(&mut self, machine: &Machine) {
        if !matches!(machine.state, MachineState::Idle { .. }) {
            self.snapshot.idle.remove(&machine.id);
            return;
        }
        let terms = self.idle_terms(machine);
        self.snapshot.idle.insert(machine.id, terms);
    }

    fn idle_terms(&mut self, machine: &Machine) -> IdleTerms {
        let knobs = self.idle_knobs(machine);
        let (timeout, why) = match knobs.timeout {
            IdleTimeout::After(span) => (span, IdleWhy::Said),
            IdleTimeout::Auto => self.worth(machine, knobs),
        };
        IdleTerms {
            timeout,
            why,
            billing: machine.billing,
            billed_from: ledger::billed_from(machine),
        }
    }

    fn worth(&self, machine: &Machine, knobs: IdleKnobs) -> (Span, IdleWhy) {
        let forecast = &self.learning.forecast;
        let boot = BootOf {
            image: &machine.image,
            version: machine.image_version,
            shape: &machine.shape.name,
            was_asleep: knobs.sleeps && machine.market == Market::OnDemand,
        };
        let stakes = Stakes {
            boot: forecast.boots.expected(&boot, machine.since),
            value_of_wait: knobs.value_of_wait,
            price: machine.shape.price_usd_micro_per_hour,
        };
        let gaps = forecast.gaps.at(&machine.image, machine.since);
        let choice = choose_timeout(&stakes, gaps);
        let why = IdleWhy::Worth {
            boot: stakes.boot,
            value_of_wait: stakes.value_of_wait,
            price: stakes.price,
            learnt_from: choice.learnt_from,
        };
        (choice.timeout, why)
    }

    /// What policies say of machines of an image that ran a build of a project.
    fn idle_knobs(&mut self, machine: &Machine) -> IdleKnobs {
        let key = (machine.image.clone(), machine.project.clone());
        if let Some(known) = self.learning.idle.get(&key) {
            return *known;
        }
        let subject = policy::Subject {
            project: machine.project.as_deref(),
            image: Some(&machine.image),
            provider: Some(&machine.provider),
            ..policy::Subject::default()
        };
        let terms = policy::effective(self.policies.values(), &subject).terms;
        let knobs = IdleKnobs {
            timeout: terms.idle_timeout,
            value_of_wait: terms.value_of_wait,
            sleeps: self.sleep_of(&machine.image, terms.sleep) != SleepKind::Never,
        };
        self.learning.idle.insert(key, knobs);
        knobs
    }

    /// Brings up to `now` what changes with time alone. To be called before each pass of the planner.
    pub(crate) fn look_ahead(&mut self, now: Timestamp) {
        self.learning.now = now;
        while let Some((at, id)) = self.learning.surer.first().copied() {
            if at > now {
                break;
            }
            self.learning.surer.remove(&(at, id));
            let queued = self.builds.get(&id).cloned();
            let is_queued = |state: &BuildState| matches!(state, BuildState::Queued { .. });
            if let Some(build) = queued.filter(|build| is_queued(&build.state)) {
                self.put_build(build);
            }
        }
        if self.learning.floors_until.is_none_or(|until| until <= now) {
            self.learning.floors_until = Some(self.refresh_floors(now));
        }
        let floors = self.learning.floors_until;
        let has_floors = !self.learning.warm.is_empty();
        let surer = self.learning.surer.first().map(|(at, _)| *at);
        let changes = [floors.filter(|_| has_floors), surer];
        self.snapshot.changes_at = changes.into_iter().flatten().min();
    }

    /// Makes the floors of this moment; until when they hold.
    fn refresh_floors(&mut self, now: Timestamp) -> Timestamp {
        let day = now.micros().div_euclid(DAY);
        let mut until = Timestamp::from_micros((day + 1) * DAY);
        let mut warm = BTreeMap::new();
        for (index, wanted) in &self.learning.warm {
            let (floor, next) = floors_at(&wanted.warm.windows, now);
            until = until.min(next.unwrap_or(until));
            let mut floors = self.floors_of(wanted, floor, now);
            if wanted.warm.forecast {
                let boot = self.boot_of(&wanted.image, now);
                let (expected, next) = self.expected(*index, wanted, boot, now);
                until = until.min(next);
                if expected > floors.running {
                    floors.running = expected;
                    floors.why = FloorWhy::Forecast;
                }
            }
            warm.insert(*index, floors);
        }
        self.snapshot.warm = warm;
        until
    }

    fn floors_of(&self, wanted: &Wanted, floor: Floor, now: Timestamp) -> Floors {
        let day = now.micros().div_euclid(DAY);
        let spent = self.learning.standby.get(&wanted.image);
        let spent = spent.filter(|(of_day, _)| *of_day == day);
        let ceiling = wanted.warm.max_cost_per_day.map(|max| Ceiling {
            max,
            spent: spent.map_or(Money::ZERO, |(_, cost)| *cost),
            from: Timestamp::from_micros(day * DAY),
            until: Timestamp::from_micros((day + 1) * DAY),
        });
        let can_sleep = wanted.sleep != SleepKind::Never;
        Floors {
            running: floor.running,
            asleep: if can_sleep { floor.asleep } else { 0 },
            sleep: wanted.sleep,
            why: FloorWhy::Schedule,
            max_age: wanted.warm.max_age,
            ceiling,
        }
    }

    /// Machines that the forecast wants, and until when: those of an hour are made ready a boot ahead.
    fn expected(
        &self,
        index: ImageIndex,
        wanted: &Wanted,
        boot: Span,
        now: Timestamp,
    ) -> (u32, Timestamp) {
        let ahead = now + boot;
        let price = self.cheapest(index).unwrap_or_default();
        let worth = (wanted.value_of_wait, price);
        let arrivals = &self.learning.forecast.arrivals;
        let expected = arrivals.wanted(&wanted.image, ahead, boot, worth);
        let hour = ahead.micros().div_euclid(HOUR) + 1;
        let until = Timestamp::from_micros(hour * HOUR) - boot;
        (expected.unwrap_or(0), until.max(now + Span::from_secs(1)))
    }

    fn boot_of(&self, name: &str, now: Timestamp) -> Span {
        let Some(image) = self.image(name) else {
            return DEFAULT_BOOT;
        };
        let shape = image.spec.shapes.first();
        let boot = BootOf {
            image: name,
            version: image.version,
            shape: shape.map_or("", |shape| shape.name.as_str()),
            was_asleep: false,
        };
        self.learning.forecast.boots.expected(&boot, now)
    }

    /// Why a build that would run on `image` needs capacity that is not taken back, if policies say
    /// so. One whose deadline is not near yet is looked at again when it is.
    pub(super) fn needs_surer(
        &mut self,
        build: &crate::model::Build,
        image: ImageIndex,
    ) -> Option<Surer> {
        let name = self.snapshot.image(image)?.name.clone();
        let catalogued = self.image(&name).cloned()?;
        let spec = &build.spec;
        let subject = policy::Subject {
            project: Some(&spec.project),
            image: Some(&name),
            provider: Some(&catalogued.spec.provider),
            labels: Some(&spec.labels),
            priority: Some(spec.priority),
        };
        let when = policy::effective(self.policies.values(), &subject)
            .terms
            .on_demand;
        let now = self.learning.now;
        let durations = &self.learning.forecast.durations;
        let known = durations.expected((&spec.project, &spec.name), 50, now);
        let takes = known.unwrap_or(spec.timeout);
        if when.longer_than.is_some_and(|longest| takes > longest) {
            return Some(Surer::Long);
        }
        if let Some(most) = when.risk_above_percent {
            let offerings = self.offerings(&catalogued);
            let spot = offerings.iter().filter(|o| o.market == Market::Spot);
            let pools: Vec<Pool> = spot.map(crate::model::Offering::pool).collect();
            let seen = &self.learning.forecast.interruptions;
            if seen.risk_percent(&catalogued.spec.provider, &pools, takes) > most {
                return Some(Surer::Risky);
            }
        }
        let (within, deadline) = (when.deadline_within?, spec.deadline?);
        let due = spec.submitted_at + deadline - takes - within;
        if due <= now {
            return Some(Surer::Deadline);
        }
        self.learning.surer.insert((due, build.id));
        None
    }
}
