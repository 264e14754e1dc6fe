//! Says why a build stands where it stands, and what happens next.

mod attempts;
mod images;
mod rules;

use crate::books::Books;
use crate::model::{Build, BuildId, BuildState, MachineId, MachineState, Span, Timestamp};
use crate::planner::{self, Chances, Explanation, Remedy};

use super::desk::DeskError;
use super::engine::Engine;
use super::intake::not_found;
use super::remedies::{self, remedy};

use images::images;

impl Engine {
    pub(super) async fn explain_build(&self, id: BuildId) -> Result<Explanation, DeskError> {
        let now = self.parts.clock.now();
        if let Some((build, mut explanation)) = self.explain_open(id, now)? {
            explanation.attempts = self.attempts_of(&build, now).await?;
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
        let mut explanation = said.about(&*self.open_books()?, &build, None);
        explanation.attempts = self.attempts_of(&build, now).await?;
        Ok(explanation)
    }

    fn explain_open(
        &self,
        id: BuildId,
        now: Timestamp,
    ) -> Result<Option<(Build, Explanation)>, DeskError> {
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
        let explanation = said.about(&books, build, chances.as_ref());
        Ok(Some((build.clone(), explanation)))
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
            attempts: Vec::new(),
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
        remedies: {
            let mut remedies = remedies::remedies(books, build, why);
            remedies.extend(rules::remedies(books, build, chances));
            remedies
        },
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
