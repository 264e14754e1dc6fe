//! What a submission would start, cost and take: it is queued in a copy of the books, and a pass of the
//! planner over that copy says what becomes of it. Nothing of it is carried out or kept.

use std::collections::BTreeMap;

use crate::books::{Books, Draft, insert};
use crate::forecast::BootOf;
use crate::model::{Build, BuildId, BuildState, MachineId, Rate, Span, Timestamp};
use crate::planner::{
    self, Action, Blocked, Estimate, Given, ImageIndex, Job, Kind, Phase, Plan, Quote, QuotedBuild,
    Spread, Work,
};

use super::desk::{DeskError, Submission};
use super::engine::Engine;

/// Percent of the past that a range begins with, is about as often under as over, and ends with.
const PERCENTS: [usize; 3] = [10, 50, 95];

/// Login, the upload of the script and the fetching of its end, for which a machine is paid for around
/// a build and which its measured time does not have: seconds at most.
const HANDLING_SECS: u64 = 3;

impl Engine {
    pub(super) fn quote_document(&self, submission: Submission) -> Result<Quote, DeskError> {
        self.check_open()?;
        let new = self.read_document(submission, None)?;
        self.check_room(&new)?;
        let now = self.parts.clock.now();
        let (pipeline, builds) = self.rows(new, now);
        let mut books = self.open_books()?.clone();
        let mut draft = Draft::new(&mut books, now);
        draft.books.look_ahead(now);
        insert(&mut draft, pipeline, builds.clone());
        drop(draft);
        let mut last_id = 0;
        let mut fresh_id = || {
            last_id += 1;
            last_id
        };
        let plan = planner::plan(&books.snapshot, now, &mut fresh_id);
        // How many machines they would get if none waited for another.
        let mut wide = books.clone();
        for build in builds.iter().filter(|b| b.state == BuildState::Waiting) {
            let state = BuildState::Queued {
                since: now,
                not_before: now,
            };
            wide.put_build(Build {
                state,
                ..build.clone()
            });
        }
        let wide_plan = planner::plan(&wide.snapshot, now, &mut fresh_id);
        let quoting = Quoting {
            books: &books,
            builds: &builds,
            plan: &plan,
            now,
        };
        Ok(quoting.quote((&wide, &wide_plan)))
    }
}

/// A pass over the copy of the books.
struct Quoting<'a> {
    books: &'a Books,
    builds: &'a [Build],
    plan: &'a Plan,
    now: Timestamp,
}

/// What is known of how long a build runs.
struct Length {
    run: Spread<Span>,
    basis: String,
}

impl Quoting<'_> {
    fn quote(&self, (wide, wide_plan): (&Books, &Plan)) -> Quote {
        let lengths: Vec<Length> = self.builds.iter().map(|build| self.length(build)).collect();
        let (work, images) = self.work(&lengths, (wide, wide_plan));
        let estimate = planner::estimate(&work);
        let rows = self.builds.iter().enumerate().zip(&lengths);
        let rows = rows.map(|((place, build), length)| {
            let estimated = estimate.jobs.get(place).copied().unwrap_or_default();
            let kind = work
                .jobs
                .get(place)
                .and_then(|job| work.kinds.get(job.kind));
            QuotedBuild {
                name: build.spec.name.clone(),
                place: self.place(build, images.get(place).copied().flatten()),
                price: kind.map(|kind| kind.rate),
                start: estimated.start,
                run: length.run,
                basis: length.basis.clone(),
                cost: estimated.cost,
            }
        });
        let builds = rows.collect();
        let mut held_by: Vec<String> = self
            .blocked(wide, wide_plan)
            .filter(|why| matches!(why, Blocked::Budget(_)))
            .map(|why| planner::blocked_words(&wide.snapshot, why))
            .collect();
        held_by.sort();
        held_by.dedup();
        Quote {
            at: self.now,
            builds,
            notes: Self::notes(&work, &estimate),
            took: estimate.took,
            cost: estimate.cost,
            idle: estimate.idle,
            launches: self.launches(),
            held_by,
        }
    }

    /// Why its builds would stay queued.
    fn blocked<'b>(
        &'b self,
        books: &'b Books,
        plan: &'b Plan,
    ) -> impl Iterator<Item = &'b Blocked> {
        let waits = |build: &Build| {
            let waiting = planner::waiting_for(&books.snapshot, plan, build.id, self.now);
            waiting.filter(|_| action_for(plan, build.id).is_none())
        };
        self.builds.iter().filter_map(waits).map(|w| &w.why)
    }

    fn launches(&self) -> u32 {
        let up = self.builds.iter().filter(|build| {
            let action = action_for(self.plan, build.id);
            matches!(action, Some(Action::Launch { .. } | Action::Wake { .. }))
        });
        u32::try_from(up.count()).unwrap_or(u32::MAX)
    }

    fn notes(work: &Work, estimate: &Estimate) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(most) = work.most {
            notes.push(format!(
                "limits, budgets or capacity leave {most} machine(s) at once; times are counted \
                 from when there is room"
            ));
        }
        if estimate.idle.high > crate::model::Money::ZERO {
            notes.push("idle time is paid for only if nobody else has builds by then".to_owned());
        }
        notes
    }

    fn length(&self, build: &Build) -> Length {
        let spec = &build.spec;
        let durations = &self.books.learning.forecast.durations;
        let name = (spec.project.as_str(), spec.name.as_str());
        let known = PERCENTS.map(|percent| durations.quantile(name, percent, self.now));
        let [Some((low, builds)), Some((likely, _)), Some((high, _))] = known else {
            let run = Spread {
                low: Span::ZERO,
                likely: spec.timeout,
                high: spec.timeout,
            };
            let basis = format!("no history: its timeout of {}", spec.timeout);
            return Length { run, basis };
        };
        let high = handled(high);
        let run = Spread {
            low: down(low).min(spec.timeout),
            likely: likely.min(spec.timeout),
            high: high.min(spec.timeout),
        };
        let basis = format!("{builds} build(s) before");
        Length { run, basis }
    }

    /// The list schedule's input, and the image of each build.
    fn work(
        &self,
        lengths: &[Length],
        (wide, wide_plan): (&Books, &Plan),
    ) -> (Work, Vec<Option<ImageIndex>>) {
        let mut kinds: BTreeMap<ImageIndex, usize> = BTreeMap::new();
        let mut work = Work::default();
        let mut machines: BTreeMap<MachineId, usize> = BTreeMap::new();
        let places = self.builds.iter().zip(0..);
        let places: BTreeMap<BuildId, usize> = places.map(|(b, place)| (b.id, place)).collect();
        let mut images = Vec::new();
        for (build, length) in self.builds.iter().zip(lengths) {
            let action = action_for(wide_plan, build.id);
            let given = action.and_then(|action| self.machine_of(wide_plan, action));
            let first = || first_candidate(wide, build.id);
            let image = given.map(|(_, image, _)| image).or_else(first);
            images.push(image);
            let kind = image.map(|image| {
                *kinds.entry(image).or_insert_with(|| {
                    work.kinds.push(self.kind(image));
                    work.kinds.len() - 1
                })
            });
            let kind = kind.unwrap_or_default();
            let given = given.map(|(machine, _, coming)| {
                let place = *machines.entry(machine).or_insert_with(|| {
                    work.given.push(Given {
                        kind,
                        pays_boot: coming.is_some(),
                        ready: coming.unwrap_or_default(),
                        slots: 0,
                    });
                    work.given.len() - 1
                });
                if let Some(given) = work.given.get_mut(place) {
                    given.slots += 1;
                }
                place
            });
            let needs = build.spec.needs.iter();
            work.jobs.push(Job {
                needs: needs.filter_map(|need| places.get(need).copied()).collect(),
                run: length.run,
                kind,
                // One that waits for others takes what is free by then.
                given: given.filter(|_| build.spec.needs.is_empty()),
            });
        }
        Self::drop_unused(&mut work);
        work.most = self
            .blocked(wide, wide_plan)
            .next()
            .map(|_| machines.len().max(1));
        (work, images)
    }

    /// Machines that are launched for builds which wait for others are launched when these end.
    fn drop_unused(work: &mut Work) {
        let mut kept = BTreeMap::new();
        let mut given = Vec::new();
        for (place, machine) in work.given.iter().enumerate() {
            let is_named = work.jobs.iter().any(|job| job.given == Some(place));
            if is_named || !machine.pays_boot {
                kept.insert(place, given.len());
                given.push(machine.clone());
            }
        }
        for job in &mut work.jobs {
            job.given = job.given.and_then(|place| kept.get(&place).copied());
        }
        work.given = given;
    }

    /// The machine that an action gives, its image, and when it is ready if that is paid for.
    fn machine_of(
        &self,
        plan: &Plan,
        action: &Action,
    ) -> Option<(MachineId, ImageIndex, Option<Spread<Span>>)> {
        match action {
            Action::Bind { machine, .. } => {
                let Some(view) = self.books.snapshot.machines.get(machine) else {
                    let is_its = |other: &&Action| matches!(other, Action::Launch { machine: new, .. } if new == machine);
                    let launch = plan.actions.iter().find(is_its)?;
                    return self.machine_of(plan, launch);
                };
                let left = matches!(view.phase, Phase::Coming { .. }).then(|| {
                    let been = self.now.since(view.meter.coming_since);
                    let boot = self.boot(view.image, false);
                    let left =
                        |span: Span| Span::from_micros(span.micros().saturating_sub(been.micros()));
                    Spread {
                        low: left(boot.low),
                        likely: left(boot.likely),
                        high: left(boot.high),
                    }
                });
                Some((*machine, view.image, left))
            }
            Action::Wake { machine, .. } => {
                let view = self.books.snapshot.machines.get(machine)?;
                Some((*machine, view.image, Some(self.boot(view.image, true))))
            }
            Action::Launch { machine, image, .. } => {
                Some((*machine, *image, Some(self.boot(*image, false))))
            }
            Action::Move { .. }
            | Action::Sleep { .. }
            | Action::GiveUp { .. }
            | Action::Drain { .. } => None,
        }
    }

    fn kind(&self, image: ImageIndex) -> Kind {
        let view = self.books.snapshot.image(image);
        let name = view.map_or("", |view| view.name.as_str());
        Kind {
            rate: self
                .rate(image)
                .or(self.books.price_of(name))
                .unwrap_or_default(),
            boot: self.boot(image, false),
            idle: view.map_or(Span::ZERO, |view| view.idle_timeout),
            slots: view.map_or(1, |view| usize::try_from(view.slots.max(1)).unwrap_or(1)),
        }
    }

    /// What the plan's first launch of an image costs.
    fn rate(&self, image: ImageIndex) -> Option<Rate> {
        let places = self.plan.actions.iter().find_map(|action| match action {
            Action::Launch {
                image: of,
                offerings,
                ..
            } if *of == image => Some(offerings),
            Action::Launch { .. }
            | Action::Bind { .. }
            | Action::Move { .. }
            | Action::Wake { .. }
            | Action::Sleep { .. }
            | Action::GiveUp { .. }
            | Action::Drain { .. } => None,
        })?;
        let first = places.first()?;
        let offerings = &self.books.snapshot.image(image)?.offerings;
        offerings
            .iter()
            .find(|o| o.place == *first)
            .map(|o| o.price)
    }

    fn boot(&self, image: ImageIndex, was_asleep: bool) -> Spread<Span> {
        let Some(catalogued) = self.books.image_at(image) else {
            return Spread::default();
        };
        let shape = catalogued.spec.shapes.first();
        let boot = BootOf {
            image: &catalogued.name,
            version: catalogued.version,
            shape: shape.map_or("", |shape| shape.name.as_str()),
            was_asleep,
        };
        let boots = &self.books.learning.forecast.boots;
        let [low, _, high] = PERCENTS.map(|percent| boots.quantile(&boot, percent, self.now));
        let view = self.books.snapshot.image(image);
        let longest = view.map_or(Span::ZERO, |view| view.boot_timeout);
        let high = high.map_or(longest, handled);
        Spread {
            low: low.map_or(Span::ZERO, down),
            likely: boots.expected(&boot, self.now).min(high),
            high,
        }
    }

    /// Where a build would go, in words.
    fn place(&self, build: &Build, image: Option<ImageIndex>) -> String {
        let name = image.and_then(|image| self.books.snapshot.image(image));
        let name = name.map_or("?", |image| image.name.as_str());
        if build.state == BuildState::Waiting {
            let needs = build.spec.needs.iter();
            let of = |need: &BuildId| self.builds.iter().find(|build| build.id == *need);
            let needs: Vec<&str> = needs.filter_map(of).map(|b| b.spec.name.as_str()).collect();
            return format!("on {name}, after {}", needs.join(", "));
        }
        match action_for(self.plan, build.id) {
            Some(Action::Bind { machine, .. }) => {
                let view = self.books.snapshot.machines.get(machine);
                match view.map(|view| view.phase) {
                    Some(Phase::Busy) => format!("beside others on {machine} ({name})"),
                    Some(Phase::Coming { .. }) => {
                        format!("on {machine} ({name}), which is booting")
                    }
                    Some(_) => format!("on {machine} ({name}), which is idle"),
                    None => format!("on a machine of {name} that is launched for another one"),
                }
            }
            Some(Action::Wake { machine, .. }) => format!("wakes {machine} ({name})"),
            Some(Action::Launch { offerings, .. }) => self.launch_words(name, image, offerings),
            Some(Action::GiveUp { reason, .. }) => format!("is given up: {reason}"),
            Some(Action::Move { .. } | Action::Sleep { .. } | Action::Drain { .. }) | None => {
                let snapshot = &self.books.snapshot;
                let waiting = planner::waiting_for(snapshot, self.plan, build.id, self.now);
                let why = waiting.map(|waiting| planner::blocked_words(snapshot, &waiting.why));
                format!("waits: {}", why.unwrap_or_default())
            }
        }
    }

    fn launch_words(&self, name: &str, image: Option<ImageIndex>, places: &[usize]) -> String {
        let image = image.and_then(|image| self.books.image_at(image));
        let offered = image.map(|image| self.books.offerings_at(image, places));
        let pools: Vec<String> = offered
            .unwrap_or_default()
            .iter()
            .map(|offering| offering.pool().to_string())
            .collect();
        match pools.as_slice() {
            [] => format!("launches {name}"),
            [only] => format!("launches {name} on {only}"),
            [first, others @ ..] => {
                format!("launches {name} on {first}, or {} like it", others.len())
            }
        }
    }
}

fn action_for(plan: &Plan, build: BuildId) -> Option<&Action> {
    plan.actions.iter().find(|a| a.build() == Some(build))
}

fn first_candidate(books: &Books, build: BuildId) -> Option<ImageIndex> {
    let snapshot = &books.snapshot;
    let class = snapshot.classes.get(&snapshot.queued.get(&build)?.class)?;
    class.candidates.first().map(|candidate| candidate.image)
}

/// Rounded down to seconds.
const fn down(span: Span) -> Span {
    Span::from_secs(span.micros() / 1_000_000)
}

/// With what comes around a build or a boot, rounded up to seconds.
const fn handled(span: Span) -> Span {
    Span::from_secs(span.micros().div_ceil(1_000_000) + HANDLING_SECS)
}
