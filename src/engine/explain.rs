//! Says why a build stands where it stands, and what happens next.

use crate::books::Books;
use crate::matching;
use crate::model::{Build, BuildId, BuildState, Image, MachineId, MachineState, Span, Timestamp};
use crate::planner::{
    self, Chances, Explanation, ImageChances, ImageVerdict, MachineReport, MachineVerdict,
    MachineView, OfferingVerdict, Phase, Remedy, ShapeVerdict,
};

use super::desk::DeskError;
use super::engine::Engine;
use super::intake::not_found;
use super::remedies::{self, remedy};

impl Engine {
    pub(super) async fn explain_build(&self, id: BuildId) -> Result<Explanation, DeskError> {
        let now = self.parts.clock.now();
        if let Some(explanation) = self.explain_open(id, now)? {
            return Ok(explanation);
        }
        let build = self
            .parts
            .store
            .build(id)
            .await?
            .ok_or_else(|| not_found("build", id))?;
        let summary = match &build.state {
            BuildState::Finished {
                result, reason, at, ..
            } if reason.is_empty() => {
                format!("It ended as {} at {at}.", result.word())
            }
            BuildState::Finished {
                result, reason, at, ..
            } => {
                format!("It ended as {} at {at}: {reason}.", result.word())
            }
            BuildState::Waiting
            | BuildState::Queued { .. }
            | BuildState::Bound { .. }
            | BuildState::Running { .. } => "It is being taken up.".to_owned(),
        };
        let again = format!("dormouse retry {id}");
        let said = Said {
            summary,
            next: format!("Its result never changes; `{again}` queues it again."),
            remedies: vec![remedy("queues it again", again)],
            ..Said::default()
        };
        let books = self.open_books()?;
        Ok(said.about(&books, &build, None))
    }

    fn explain_open(&self, id: BuildId, now: Timestamp) -> Result<Option<Explanation>, DeskError> {
        let books = self.open_books()?;
        let Some(build) = books.builds.get(&id) else {
            return Ok(None);
        };
        let mut chances = None;
        let mut said = match &build.state {
            BuildState::Waiting => waiting(&books, build),
            BuildState::Queued { since, not_before } => {
                chances = planner::chances(&books.snapshot, id, now);
                queued(&books, build, now, (*since, *not_before), chances.as_ref())
            }
            BuildState::Bound { machine, since, .. } => bound(&books, *machine, *since, now).into(),
            BuildState::Running { machine, since, .. } => Said::from((
                format!(
                    "It has run on {machine} for {}.",
                    seconds(now.since(*since))
                ),
                format!(
                    "It ends by itself, or when its timeout of {} is over.",
                    build.spec.timeout
                ),
            )),
            // Not in the books.
            BuildState::Finished { .. } => return Ok(None),
        };
        if let Some(cancel) = &build.cancel {
            said.summary = format!("{} Its end was asked for: {}.", said.summary, cancel.reason);
        } else {
            let command = format!("dormouse cancel {id}");
            said.remedies.push(remedy("gives it up", command));
        }
        Ok(Some(said.about(&books, build, chances.as_ref())))
    }
}

/// What is said about a build, whatever images there are.
#[derive(Debug, Default)]
struct Said {
    summary: String,
    next: String,
    waits_for: Option<String>,
    next_try: Option<Timestamp>,
    remedies: Vec<Remedy>,
}

/// From a summary and what is next.
impl From<(String, String)> for Said {
    fn from((summary, next): (String, String)) -> Self {
        Self {
            summary,
            next,
            ..Self::default()
        }
    }
}

impl Said {
    fn about(self, books: &Books, build: &Build, chances: Option<&Chances>) -> Explanation {
        Explanation {
            build: build.id,
            state: build.state.word().to_owned(),
            summary: self.summary,
            images: images(books, build, chances),
            next: self.next,
            waits_for: self.waits_for,
            next_try: self.next_try,
            ahead: chances.map(|chances| u64::try_from(chances.ahead).unwrap_or(u64::MAX)),
            remedies: self.remedies,
        }
    }
}

fn seconds(span: Span) -> Span {
    Span::from_secs(span.micros() / 1_000_000)
}

fn waiting(books: &Books, build: &Build) -> Said {
    let needs = build.spec.needs.iter();
    let open: Vec<&Build> = needs.filter_map(|need| books.builds.get(need)).collect();
    let names = open
        .iter()
        .map(|need| format!("{:?} ({}, {})", need.spec.name, need.id, need.state.word()));
    let names = names.collect::<Vec<String>>().join(", ");
    let remedies = open.iter().map(|need| {
        let effect = format!("says what {:?} waits for", need.spec.name);
        remedy(&effect, format!("dormouse explain {}", need.id))
    });
    Said {
        summary: format!("It needs builds that have not finished: {names}."),
        next: "It is queued when all of them succeed, and skipped when one does not.".to_owned(),
        waits_for: Some(format!("builds that have not finished: {names}")),
        next_try: None,
        remedies: remedies.collect(),
    }
}

/// What a pass of the planner says about the build now.
fn queued(
    books: &Books,
    build: &Build,
    now: Timestamp,
    (since, not_before): (Timestamp, Timestamp),
    chances: Option<&Chances>,
) -> Said {
    let age = seconds(now.since(since));
    if not_before > now {
        let events = format!("dormouse events --subject {}", build.id);
        return Said {
            summary: format!(
                "Attempt {} failed for reasons of infrastructure.",
                build.attempts
            ),
            next: format!("The next attempt is due at {not_before}."),
            waits_for: Some("the time of its next attempt".to_owned()),
            next_try: Some(not_before),
            remedies: vec![remedy("shows what failed", events)],
        };
    }
    let queued_for = format!("It has been queued for {age}");
    let moment = |next: &str| Said::from((format!("{queued_for}."), next.to_owned()));
    let Some(chances) = chances else {
        return moment("The planner is about to look.");
    };
    if chances.action.is_some() {
        return moment("It gets a machine in this very moment.");
    }
    let Some(why) = &chances.blocked else {
        return moment("The planner is about to look.");
    };
    let words = planner::blocked_words(&books.snapshot, why);
    let ahead = chances.ahead;
    Said {
        summary: format!("{queued_for}, with {ahead} like it ahead: {words}."),
        next: remedies::what_helps(books, why),
        waits_for: Some(remedies::awaited(why)),
        next_try: why.until(),
        remedies: remedies::remedies(books, build, why),
    }
}

fn bound(books: &Books, id: MachineId, since: Timestamp, now: Timestamp) -> (String, String) {
    let age = seconds(now.since(since));
    let Some(machine) = books.machines.get(&id) else {
        return (
            format!("It is bound to {id}."),
            "Its attempt begins anew.".to_owned(),
        );
    };
    let image = &machine.image;
    match &machine.state {
        MachineState::Intended { .. } | MachineState::Booting { .. } => (
            format!("It was bound to {id} ({image}) {age} ago, which is booting."),
            "It starts when the machine is ready.".to_owned(),
        ),
        MachineState::Waking { .. } => (
            format!("It was bound to {id} ({image}) {age} ago, which is being woken."),
            "It starts when the machine is ready.".to_owned(),
        ),
        MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => (
            format!("It was bound to {id} ({image}) {age} ago."),
            "Its first step begins at once.".to_owned(),
        ),
    }
}

/// What each image of the catalogue means for the build.
fn images(books: &Books, build: &Build, chances: Option<&Chances>) -> Vec<ImageVerdict> {
    let (requires, pin) = (&build.spec.requires, build.spec.image.as_deref());
    let current: Vec<&Image> = books.current_images().map(AsRef::as_ref).collect();
    let matches = matching::match_catalogue(requires, pin, current.into_iter());
    // The planner's order knows prices that the catalogue does not.
    let chance_of = |name: &str| {
        let mut ranked = chances?.images.iter().zip(1_u32..);
        let is_it = |index| books.snapshot.image(index).is_some_and(|i| i.name == name);
        ranked.find(|(chance, _)| is_it(chance.image))
    };
    let candidates = matches.candidates.iter().zip(1_u32..);
    let fitting = candidates.map(|(candidate, rank)| {
        let chance = chance_of(candidate.image);
        let (chance, rank) = chance.map_or((None, rank), |(chance, rank)| (Some(chance), rank));
        let mut verdict = machines_words(books, candidate.image);
        if let Some(why) = chance.and_then(|chance| chance.blocked.as_ref()) {
            let words = planner::blocked_words(&books.snapshot, why);
            verdict = format!("{verdict}; no launch: {words}");
        }
        ImageVerdict {
            image: candidate.image.to_owned(),
            rank: Some(rank),
            price: books.price_of(candidate.image),
            verdict,
            shapes: chance.map_or_else(Vec::new, |chance| shapes(books, chance)),
            machines: chance.map_or_else(Vec::new, |chance| machines(books, chance)),
        }
    });
    let mut fitting: Vec<ImageVerdict> = fitting.collect();
    fitting.sort_by_key(|image| image.rank);
    let refused = matches.refused.iter().map(|refusal| {
        let mismatches: Vec<String> = refusal.mismatches.iter().map(ToString::to_string).collect();
        ImageVerdict {
            image: refusal.image.to_owned(),
            rank: None,
            price: None,
            verdict: mismatches.join("; "),
            shapes: Vec::new(),
            machines: Vec::new(),
        }
    });
    fitting.into_iter().chain(refused).collect()
}

fn shapes(books: &Books, chances: &ImageChances) -> Vec<ShapeVerdict> {
    let Some(image) = books.image_at(chances.image) else {
        return Vec::new();
    };
    let offerings = books.offerings(image);
    let rows = chances.offerings.iter().filter_map(|chance| {
        let offering = offerings.get(chance.place)?;
        Some(ShapeVerdict {
            shape: offering.shape.name.clone(),
            zone: offering.zone.clone(),
            market: offering.market,
            price: chance.price,
            rank: match chance.verdict {
                OfferingVerdict::Rank(rank) => Some(rank),
                OfferingVerdict::Market(_)
                | OfferingVerdict::Spot
                | OfferingVerdict::Dry(_)
                | OfferingVerdict::Blocked(_)
                | OfferingVerdict::Dear(_)
                | OfferingVerdict::Many
                | OfferingVerdict::Behind(_) => None,
            },
            verdict: planner::offering_words(&books.snapshot, &chance.verdict),
        })
    });
    rows.collect()
}

fn machines(books: &Books, chances: &ImageChances) -> Vec<MachineReport> {
    let rows = chances.machines.iter().map(|chance| {
        let machine = books.machines.get(&chance.machine);
        MachineReport {
            machine: chance.machine,
            state: machine.map_or_else(String::new, |machine| machine.state.word().to_owned()),
            rank: match chance.verdict {
                MachineVerdict::Rank(rank) => Some(rank),
                MachineVerdict::Full
                | MachineVerdict::Taken(_)
                | MachineVerdict::Held(_)
                | MachineVerdict::Interrupted
                | MachineVerdict::Ends(_)
                | MachineVerdict::Ending
                | MachineVerdict::FallingAsleep
                | MachineVerdict::Used
                | MachineVerdict::Spot
                | MachineVerdict::Unsuited
                | MachineVerdict::Dry(_)
                | MachineVerdict::Blocked(_) => None,
            },
            verdict: planner::machine_words(&books.snapshot, &chance.verdict),
        }
    });
    rows.collect()
}

fn machines_words(books: &Books, image: &str) -> String {
    let mut tally = std::collections::BTreeMap::<&str, u32>::new();
    for machine in books
        .machines
        .values()
        .filter(|machine| machine.image == image)
    {
        *tally.entry(machine.state.word()).or_default() += 1;
    }
    if tally.is_empty() {
        return format!(
            "can build it{}; no machine is up",
            standing_in(books, image)
        );
    }
    let on_busy = |machine: &&MachineView| machine.phase == Phase::Busy;
    let index = books
        .snapshot
        .images
        .iter()
        .position(|view| view.name == image);
    let of_image = books.snapshot.machines.values().filter(on_busy);
    let of_image = of_image.filter(|machine| Some(machine.image.0) == index);
    let room: u32 = of_image.map(|machine| machine.free).sum();
    let words: Vec<String> = tally
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let room = match room {
        0 => String::new(),
        1 => "; there is room for one more build beside others".to_owned(),
        room => format!("; there is room for {room} more builds beside others"),
    };
    let stands_in = standing_in(books, image);
    format!(
        "can build it{stands_in}; machines: {}{room}",
        words.join(", ")
    )
}

/// Says if the current version of an image is not the newest one.
fn standing_in(books: &Books, image: &str) -> String {
    let bad = books.quarantined(image).zip(books.image(image));
    bad.map_or_else(String::new, |(bad, good)| {
        format!(
            ", with version {}, for version {} is quarantined (`dormouse image release {image}` \
             tries it anew)",
            good.version, bad.version
        )
    })
}
