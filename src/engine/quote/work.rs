//! The machines and times that a quote's schedule is made of.

use std::collections::BTreeMap;

use crate::books::Books;
use crate::forecast::BootOf;
use crate::ledger;
use crate::model::{Billing, BuildId, MachineId, Rate, Span};
use crate::planner::{Action, Given, ImageIndex, Job, Kind, Phase, Plan, Spread, Work};

use super::past::{Length, PERCENTS, down, handled};
use super::{Quoting, action_for};

impl Quoting<'_> {
    /// The list schedule's input, and the image of each build.
    pub(super) fn work(
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
                        age: self.age(machine),
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
            let boot = image.map(|image| self.boot(image, false));
            work.jobs.push(Job {
                needs: needs.filter_map(|need| places.get(need).copied()).collect(),
                run: length.run,
                lost: length
                    .retries
                    .lost_by(build.spec.max_attempts, boot.unwrap_or_default()),
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
            billing: self.billing(image),
        }
    }

    /// In which pieces machines of an image are paid for: as its file says, else as its provider does.
    pub(super) fn billing(&self, image: ImageIndex) -> Billing {
        let Some(image) = self.books.image_at(image) else {
            return Billing::default();
        };
        let usual = self.books.capacity.skills(&image.spec.provider).billing;
        image.spec.billing.unwrap_or(usual)
    }

    /// How long a machine has been paid for without a break; one that is asleep begins anew.
    fn age(&self, id: MachineId) -> Span {
        let view = self.books.snapshot.machines.get(&id);
        let is_asleep = view.is_some_and(|view| matches!(view.phase, Phase::Asleep(_)));
        let machine = self.books.machines.get(&id).filter(|_| !is_asleep);
        machine.map_or(Span::ZERO, |machine| {
            self.now.since(ledger::billed_from(machine))
        })
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
            | Action::Wake { .. }
            | Action::Move { .. }
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
}

fn first_candidate(books: &Books, build: BuildId) -> Option<ImageIndex> {
    let snapshot = &books.snapshot;
    let class = snapshot.classes.get(&snapshot.queued.get(&build)?.class)?;
    class.candidates.first().map(|candidate| candidate.image)
}
