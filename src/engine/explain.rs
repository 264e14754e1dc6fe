//! Says why a build stands where it stands, and what happens next.

use crate::books::Books;
use crate::matching;
use crate::model::{Build, BuildId, BuildState, Image, MachineState, Span, Timestamp};
use crate::planner::{self, Explanation, ImageVerdict, MachineView, Phase};

use super::desk::DeskError;
use super::engine::Engine;
use super::intake::not_found;

impl Engine {
    pub(super) async fn explain_build(&self, id: BuildId) -> Result<Explanation, DeskError> {
        let now = self.parts.clock.now();
        if let Some(explanation) = self.explain_open(id, now) {
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
        let next = format!("Its result never changes; `dormouse retry {id}` queues it again.");
        let images = images(&self.books(), &build);
        Ok(Explanation {
            build: id,
            state: build.state.word().to_owned(),
            summary,
            images,
            next,
        })
    }

    fn explain_open(&self, id: BuildId, now: Timestamp) -> Option<Explanation> {
        let books = self.books();
        let build = books.builds.get(&id)?;
        let (summary, next) = match &build.state {
            BuildState::Waiting => waiting(&books, build),
            BuildState::Queued { since, not_before } => {
                queued(&books, build, now, (*since, *not_before), || {
                    self.parts.ids.bits(now)
                })
            }
            BuildState::Bound { machine, since, .. } => bound(&books, *machine, *since, now),
            BuildState::Running { machine, since, .. } => (
                format!(
                    "It has run on {machine} for {}.",
                    seconds(now.since(*since))
                ),
                format!(
                    "It ends by itself, or when its timeout of {} is over.",
                    build.spec.timeout
                ),
            ),
            // Not in the books.
            BuildState::Finished { .. } => return None,
        };
        let summary = match &build.cancel {
            Some(cancel) => format!("{summary} Its end was asked for: {}.", cancel.reason),
            None => summary,
        };
        let (state, images) = (build.state.word().to_owned(), images(&books, build));
        Some(Explanation {
            build: id,
            state,
            summary,
            images,
            next,
        })
    }
}

fn seconds(span: Span) -> Span {
    Span::from_secs(span.micros() / 1_000_000)
}

fn waiting(books: &Books, build: &Build) -> (String, String) {
    let open = build
        .spec
        .needs
        .iter()
        .filter_map(|need| books.builds.get(need));
    let names: Vec<String> = open
        .map(|need| format!("{:?} ({}, {})", need.spec.name, need.id, need.state.word()))
        .collect();
    (
        format!(
            "It needs builds that have not finished: {}.",
            names.join(", ")
        ),
        "It is queued when all of them succeed, and skipped when one does not.".to_owned(),
    )
}

/// What a pass of the planner says about the build now.
fn queued(
    books: &Books,
    build: &Build,
    now: Timestamp,
    (since, not_before): (Timestamp, Timestamp),
    mut fresh: impl FnMut() -> u128,
) -> (String, String) {
    let age = seconds(now.since(since));
    if not_before > now {
        return (
            format!(
                "Attempt {} failed for reasons of infrastructure.",
                build.attempts
            ),
            format!("The next attempt is due at {not_before}."),
        );
    }
    let plan = planner::plan(&books.snapshot, now, &mut fresh);
    if plan
        .actions
        .iter()
        .any(|action| action.build() == Some(build.id))
    {
        return (
            format!("It has been queued for {age}."),
            "It gets a machine in this very moment.".to_owned(),
        );
    }
    let queued = books.snapshot.queued.get(&build.id);
    let waiting = queued.and_then(|queued| plan.waiting.iter().find(|w| w.class == queued.class));
    let Some((queued, waiting)) = queued.zip(waiting) else {
        return (
            format!("It has been queued for {age}."),
            "The planner is about to look.".to_owned(),
        );
    };
    let ahead = books
        .snapshot
        .classes
        .get(&queued.class)
        .map_or(0, |class| class.ready.range(..queued.key).count());
    (
        format!(
            "It has been queued for {age}, with {ahead} like it ahead: {}.",
            planner::blocked_words(&books.snapshot, &waiting.why)
        ),
        what_helps(books, &waiting.why),
    )
}

fn what_helps(books: &Books, why: &planner::Blocked) -> String {
    match why {
        planner::Blocked::NoImage => {
            "Nothing, until an image that fits is applied (`dormouse apply`).".to_owned()
        }
        planner::Blocked::Limit(reached) => more_room(books, *reached),
        planner::Blocked::Budget(no_room) => more_money(books, no_room),
        planner::Blocked::Paused(_, planner::Paused { until, .. })
        | planner::Blocked::Backoff(until) => {
            format!("The next try is at {until}; `dormouse events` shows what failed.")
        }
        planner::Blocked::Dry(_, until) => format!(
            "The next try is at {until}. More types, zones or markets in the image's shapes and \
             policy give it more places to find capacity."
        ),
        planner::Blocked::Unresolved(image) => {
            let name = books.snapshot.image(*image).map_or("", |image| &image.name);
            format!(
                "Its provider is asked; `dormouse events --subject image:{name}` shows what it said."
            )
        }
    }
}

fn more_room(books: &Books, reached: planner::Reached) -> String {
    let limit = books.snapshot.limits.get(reached.limit);
    let name = limit.map_or("", |limit| limit.name.as_str());
    let (what, knob) = match reached.quota {
        planner::Quota::Machines => ("the next machine that fits and becomes free", "machines"),
        planner::Quota::Vcpus => ("the next machine that fits and becomes free", "vcpus"),
        planner::Quota::Cost => (
            "the next machine that fits and becomes free",
            "cost_per_hour",
        ),
        planner::Quota::Builds => ("its turn when one of the builds that run ends", "builds"),
        planner::Quota::Launches => (
            "the next machine that fits and becomes free, or one that is launched then",
            "launches_per_hour",
        ),
    };
    format!(
        "It gets {what}; more at once: raise limits.{knob} of policy {name:?} (`dormouse apply`)."
    )
}

fn more_money(books: &Books, no_room: &planner::NoRoom) -> String {
    let Some(budget) = books.snapshot.budgets.get(no_room.budget) else {
        return "`dormouse budgets` shows how budgets stand.".to_owned();
    };
    let when = match no_room.until {
        Some(until) => format!("It is looked at again when builds end, and at {until}"),
        None => "It is looked at again when builds end".to_owned(),
    };
    format!(
        "{when}; more: `dormouse budget approve {}/{} --amount ...`, or raise it (`dormouse apply`).",
        budget.policy, budget.name
    )
}

fn bound(
    books: &Books,
    id: crate::model::MachineId,
    since: Timestamp,
    now: Timestamp,
) -> (String, String) {
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
fn images(books: &Books, build: &Build) -> Vec<ImageVerdict> {
    let (requires, pin) = (&build.spec.requires, build.spec.image.as_deref());
    let current: Vec<&Image> = books.current_images().map(AsRef::as_ref).collect();
    let matches = matching::match_catalogue(requires, pin, current.into_iter());
    let fitting = matches
        .candidates
        .iter()
        .zip(1_u32..)
        .map(|(candidate, rank)| ImageVerdict {
            image: candidate.image.to_owned(),
            rank: Some(rank),
            price: books.price_of(candidate.image),
            verdict: machines_words(books, candidate.image),
        });
    let refused = matches.refused.iter().map(|refusal| {
        let mismatches: Vec<String> = refusal.mismatches.iter().map(ToString::to_string).collect();
        ImageVerdict {
            image: refusal.image.to_owned(),
            rank: None,
            price: None,
            verdict: mismatches.join("; "),
        }
    });
    fitting.chain(refused).collect()
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
        return "can build it; no machine is up".to_owned();
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
    format!("can build it; machines: {}{room}", words.join(", "))
}
