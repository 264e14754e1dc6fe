//! Where a build ran, try by try, and why there: from attempts, machines and events, as stored.

use crate::books::WAITED;
use crate::model::{
    Attempt, AttemptState, Build, Event, EventKind, Machine, MachineId, Outcome, Span, Subject,
    Timestamp,
};
use crate::planner::AttemptReport;
use crate::store::StoreError;

use super::super::engine::Engine;

/// Most events of a build that are read: some per attempt, and attempts are few.
const MOST_EVENTS: u32 = 500;

impl Engine {
    /// The tries of a build, first to last.
    pub(super) async fn attempts_of(
        &self,
        build: &Build,
        now: Timestamp,
    ) -> Result<Vec<AttemptReport>, StoreError> {
        if build.attempts == 0 {
            return Ok(Vec::new());
        }
        let store = &self.parts.store;
        let attempts = store.attempts(build.id).await?;
        let subject = Subject::Build(build.id);
        let events = store.events(Some(&subject), 0, MOST_EVENTS).await?;
        let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
        let mut reports = Vec::with_capacity(attempts.len());
        for attempt in &attempts {
            let machine = self.known_machine(attempt.machine).await?;
            reports.push(report((build, attempt), machine.as_ref(), &events, now));
        }
        Ok(reports)
    }

    async fn known_machine(&self, id: MachineId) -> Result<Option<Machine>, StoreError> {
        let open = self.books().machines.get(&id).cloned();
        match open {
            Some(machine) => Ok(Some(machine)),
            None => self.parts.store.machine(id).await,
        }
    }
}

fn report(
    (build, attempt): (&Build, &Attempt),
    machine: Option<&Machine>,
    events: &[Event],
    now: Timestamp,
) -> AttemptReport {
    let before = |event: &&Event| event.at <= attempt.bound_at;
    let queued = events.iter().filter(before);
    let queued = queued.filter(|event| event.kind == EventKind::BuildQueued);
    let queued_at = queued.map(|event| event.at).max();
    let bound = events
        .iter()
        .find(|event| event.kind == EventKind::BuildBound && event.at == attempt.bound_at);
    let (why, waited_for) = bound.map_or((None, None), |event| why(&event.message));
    let began = began(attempt);
    let ended = match attempt.state {
        AttemptState::Bound | AttemptState::Running { .. } => now,
        AttemptState::Finished { at, .. } => at,
    };
    AttemptReport {
        number: attempt.number,
        machine: attempt.machine,
        place: machine.map(place),
        why,
        waited_for,
        bound_at: attempt.bound_at,
        waited: attempt
            .bound_at
            .since(queued_at.unwrap_or(build.spec.submitted_at)),
        ready: began.map(|began| began.since(attempt.bound_at)),
        ran: began.map(|began| ended.since(began)),
        outcome: outcome(attempt, ended.since(attempt.bound_at)),
    }
}

/// What the event of a binding says: why this machine, and what the build had waited for.
fn why(message: &str) -> (Option<String>, Option<String>) {
    let said = message.split_once(", ").map_or(message, |(_, why)| why);
    match said.split_once(WAITED) {
        Some((why, waited)) => (Some(why.to_owned()), Some(waited.to_owned())),
        None => (Some(said.to_owned()), None),
    }
}

/// `debian-12 version 3, t3.small in eu-1a spot at $0.0042/h`
fn place(machine: &Machine) -> String {
    let (image, version) = (&machine.image, machine.image_version);
    let (pool, rate) = (machine.pool(), machine.shape.price_usd_micro_per_hour);
    format!("{image} version {version}, {pool} at {rate}")
}

/// When its first step began.
fn began(attempt: &Attempt) -> Option<Timestamp> {
    let first = attempt.steps.first().map(|step| step.started_at);
    first.or(match attempt.state {
        AttemptState::Running { since } => Some(since),
        AttemptState::Bound | AttemptState::Finished { .. } => None,
    })
}

fn outcome(attempt: &Attempt, age: Span) -> String {
    match &attempt.state {
        AttemptState::Bound => format!("it has not begun; bound for {}", super::seconds(age)),
        AttemptState::Running { .. } => "it runs".to_owned(),
        AttemptState::Finished { outcome, .. } => match outcome {
            Outcome::Exited(0) => "success".to_owned(),
            Outcome::Exited(code) => format!("failure: exit code {code}"),
            Outcome::TimedOut => "it ran out of time".to_owned(),
            Outcome::Canceled => "canceled".to_owned(),
            Outcome::Infrastructure(why) => format!("lost to infrastructure: {why}"),
            Outcome::Interrupted(why) => format!("its machine was taken back: {why}"),
            Outcome::NotLaunched(why) => {
                format!("no machine was launched, which does not count as a try: {why}")
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_of_a_binding_says_why_and_what_was_waited_for() {
        let owned = |text: &str| Some(text.to_owned());
        assert_eq!(
            why("bound to mch_1, a warm machine"),
            (owned("a warm machine"), None)
        );
        let long = format!("bound to mch_1, a warm machine; one, of two{WAITED}policy x, and y");
        assert_eq!(
            why(&long),
            (
                owned("a warm machine; one, of two"),
                owned("policy x, and y")
            )
        );
    }
}
