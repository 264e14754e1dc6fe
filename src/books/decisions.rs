//! Writes the planner's decisions into a transaction, one action at a time.
//!
//! Callers: `engine`, which carries out what the effects say once that is durable; `simulate`, which
//! plays it.

use std::sync::Arc;

use crate::model::{
    AtMost, Attempt, AttemptId, AttemptState, BuildId, BuildState, Category, Change, Cursor,
    EventKind, IllegalTransition, Image, Machine, MachineId, MachineKeys, MachineState, Money,
    Offering, Reason, Record, SleepKind, Subject,
};
use crate::planner::{Action, ImageIndex};

use super::draft::Draft;
use super::machine_steps::{becomes, is_coming};
use super::outcome::finish_build;
use super::sharing::shares;
use super::spend::Launched;

/// Makes the keys of a machine that its provider takes by itself.
pub(crate) type NewKeys<'a> = dyn FnMut(MachineId) -> Result<MachineKeys, IllegalTransition> + 'a;

/// What stands before the reason for which a build had to wait, in the event of its binding.
pub(crate) const WAITED: &str = "; before that it waited: ";

/// A recorded decision that is ready to be carried out.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Launch a machine by itself, or wake it, and bring it up.
    BringUp(MachineId),
    /// Launch a machine on one of these, together with others like it.
    Launch(MachineId, Vec<Offering>),
    /// Put a machine to sleep.
    Sleep(MachineId),
    /// Run an attempt.
    Drive(AttemptId),
    /// Terminate a machine.
    End(MachineId),
}

/// Writes one action into the transaction; what has to be done once that is durable.
pub(crate) fn record(
    draft: &mut Draft<'_>,
    action: &Action,
    new_keys: &mut NewKeys<'_>,
) -> Result<Option<Effect>, IllegalTransition> {
    match action {
        Action::Bind {
            build,
            attempt,
            machine,
        } => {
            let effect = claim(draft, *machine, (*build, *attempt))?;
            let what = what(draft, *machine);
            bind(draft, (*build, *attempt), *machine, what)?;
            Ok(effect)
        }
        Action::Move {
            build,
            from,
            machine,
        } => move_over(draft, *build, *from, *machine),
        Action::Launch {
            machine,
            image,
            offerings,
            claim,
            ..
        } => launch(draft, *machine, (*image, offerings), *claim, new_keys),
        Action::Wake {
            machine,
            offering,
            claim,
        } => {
            wake(draft, *machine, *offering, *claim)?;
            if let Some(claim) = claim {
                bind(draft, *claim, *machine, "a machine that is woken for it")?;
            }
            Ok(Some(Effect::BringUp(*machine)))
        }
        Action::Sleep { machine, how } => put_to_sleep(draft, *machine, *how),
        Action::GiveUp {
            build,
            result,
            reason,
        } => {
            finish_build(draft, *build, *result, reason)?;
            Ok(None)
        }
        Action::Drain { machine, reason } => drain(draft, *machine, reason),
    }
}

/// Records the intent; a provider with a fleet gets it with others like it, any other at once.
fn launch(
    draft: &mut Draft<'_>,
    machine: MachineId,
    (index, places): (ImageIndex, &[usize]),
    claim: Option<(BuildId, AttemptId)>,
    new_keys: &mut NewKeys<'_>,
) -> Result<Option<Effect>, IllegalTransition> {
    let Some(image) = draft.books.image_at(index).cloned() else {
        return Ok(None);
    };
    let offerings = draft.books.offerings_at(&image, places);
    let Some(cheapest) = offerings.first() else {
        return Ok(None);
    };
    let has_fleet = draft.books.capacity.skills(&image.spec.provider).fleet;
    if !has_fleet {
        draft.record(Change::PutMachineKeys(new_keys(machine)?));
    }
    intend(draft, machine, &image, cheapest, claim);
    if has_fleet {
        let at_most = most_of(&offerings);
        draft.change_machine(machine, |machine| machine.at_most = at_most);
    }
    let build = claim.and_then(|(build, _)| draft.books.builds.get(&build));
    let build = build.map(|build| Arc::clone(&build.spec));
    draft.books.count_launch(Launched {
        at: draft.now,
        image: image.name.clone(),
        build,
    });
    if let Some(claim) = claim {
        bind(draft, claim, machine, "a machine that is launched for it")?;
    }
    Ok(Some(if has_fleet {
        Effect::Launch(machine, offerings)
    } else {
        Effect::BringUp(machine)
    }))
}

/// The most that a machine of a launch may become; none where it can be one thing only.
fn most_of(offerings: &[Offering]) -> Option<AtMost> {
    let shapes = offerings.iter().map(|offering| &offering.shape);
    let most = AtMost {
        vcpus: shapes.clone().map(|shape| shape.vcpus).max()?,
        rate: shapes.map(|shape| shape.price_usd_micro_per_hour).max()?,
    };
    (offerings.len() > 1).then_some(most)
}

fn put_to_sleep(
    draft: &mut Draft<'_>,
    id: MachineId,
    how: SleepKind,
) -> Result<Option<Effect>, IllegalTransition> {
    let state = draft.books.machines.get(&id).map(|m| &m.state);
    let Some(instance) = state.and_then(MachineState::instance).cloned() else {
        return Ok(None);
    };
    let next = MachineState::FallingAsleep { instance, how };
    draft.enter_machine(id, next, Some((Category::Idle, None)))?;
    let message = format!("put to sleep ({})", how.word());
    draft.event(Subject::Machine(id), EventKind::MachineNote, message);
    Ok(Some(Effect::Sleep(id)))
}

fn drain(
    draft: &mut Draft<'_>,
    id: MachineId,
    reason: &Reason,
) -> Result<Option<Effect>, IllegalTransition> {
    let Some(state) = draft.books.machines.get(&id).map(|m| &m.state) else {
        return Ok(None);
    };
    let category = match state {
        MachineState::Idle { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. } => Category::Idle,
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Waking { .. }
        | MachineState::Busy { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => Category::Boot,
    };
    let next = MachineState::Draining {
        instance: state.instance().cloned(),
        reason: reason.clone(),
    };
    draft.enter_machine(id, next, Some((category, None)))?;
    let subject = Subject::Machine(id);
    draft.event(subject, EventKind::MachineDraining, reason.sentence());
    Ok(Some(Effect::End(id)))
}

/// Gives a machine with room a build.
fn claim(
    draft: &mut Draft<'_>,
    id: MachineId,
    claim: (BuildId, AttemptId),
) -> Result<Option<Effect>, IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(None);
    };
    let drive = Some(Effect::Drive(claim.1));
    let (next, bill, effect) = match machine.state.clone() {
        MachineState::Idle { instance, endpoint } => {
            let next = MachineState::Busy {
                instance,
                endpoint,
                claims: claim.into(),
                ends: None,
            };
            (next, Some(vec![(Category::Idle, None)]), drive)
        }
        MachineState::Busy {
            instance,
            endpoint,
            claims,
            ends,
        } => {
            let next = MachineState::Busy {
                instance,
                endpoint,
                claims: claims.with(claim),
                ends,
            };
            (next, Some(shares(draft, machine, None)), drive)
        }
        MachineState::Booting { instance, claims } => {
            let claims = claims.with(claim);
            (MachineState::Booting { instance, claims }, None, None)
        }
        MachineState::Waking { instance, claims } => {
            let claims = claims.with(claim);
            (MachineState::Waking { instance, claims }, None, None)
        }
        MachineState::Intended { claims } => {
            let claims = claims.with(claim);
            (MachineState::Intended { claims }, None, None)
        }
        // No plan says so; it is refused as what it is not.
        MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => {
            let claims = claim.into();
            (MachineState::Intended { claims }, None, None)
        }
    };
    draft.enter_shared_machine(id, next, bill)?;
    Ok(effect)
}

/// Gives a build that waits for the launch of a machine another one, which is up: the same attempt,
/// for none of it has happened yet.
fn move_over(
    draft: &mut Draft<'_>,
    build: BuildId,
    from: MachineId,
    to: MachineId,
) -> Result<Option<Effect>, IllegalTransition> {
    let binding = draft.books.builds.get(&build);
    let binding = binding.and_then(|build| build.state.binding());
    let Some((_, attempt)) = binding.filter(|(machine, _)| *machine == from) else {
        return Ok(None);
    };
    let left = draft.books.machines.get(&from).map(|m| m.state.clone());
    let next = match left {
        Some(MachineState::Intended { claims }) => MachineState::Intended {
            claims: claims.without(&[attempt]),
        },
        Some(MachineState::Booting { instance, claims }) => MachineState::Booting {
            instance,
            claims: claims.without(&[attempt]),
        },
        Some(
            MachineState::Waking { .. }
            | MachineState::Idle { .. }
            | MachineState::Busy { .. }
            | MachineState::FallingAsleep { .. }
            | MachineState::Asleep { .. }
            | MachineState::Draining { .. }
            | MachineState::Gone { .. },
        )
        | None => return Ok(None),
    };
    let effect = claim(draft, to, (build, attempt))?;
    let bound = BuildState::Bound {
        machine: to,
        attempt,
        since: draft.now,
    };
    give_to(draft, build, to);
    let message = format!("moved to {to}, which is up before {from}");
    draft.enter_build(build, bound, message)?;
    draft.change_attempt(attempt, |attempt| {
        attempt.machine = to;
        attempt.rev += 1;
    });
    draft.enter_machine(from, next, None)?;
    Ok(effect)
}

/// What a machine is to a build that it has just been given.
fn what(draft: &Draft<'_>, id: MachineId) -> &'static str {
    let state = draft.books.machines.get(&id).map(|machine| &machine.state);
    match state {
        Some(MachineState::Busy { claims, .. }) if claims.len() > 1 => "a machine with room for it",
        Some(state) if is_coming(state) => "a machine on its way up",
        Some(_) | None => "a warm machine",
    }
}

/// Begins to wake a machine, as what the plan says.
fn wake(
    draft: &mut Draft<'_>,
    id: MachineId,
    place: usize,
    claim: Option<(BuildId, AttemptId)>,
) -> Result<(), IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(());
    };
    let MachineState::Asleep { instance } = machine.state.clone() else {
        return Ok(());
    };
    let key = (machine.image.clone(), machine.image_version);
    let image = draft.books.images.get(&key).cloned();
    let offering = image.map(|image| draft.books.offerings_at(&image, &[place]));
    if let Some(offering) = offering.unwrap_or_default().first() {
        draft.change_machine(id, |machine| becomes(machine, offering));
    }
    let claims = claim.into();
    let next = MachineState::Waking { instance, claims };
    draft.enter_machine(id, next, Some((Category::Idle, None)))?;
    let message = match claim {
        Some(_) => "woken for a build",
        None => "woken to be at hand",
    };
    let subject = Subject::Machine(id);
    draft.event(subject, EventKind::MachineNote, message.to_owned());
    Ok(())
}

fn bind(
    draft: &mut Draft<'_>,
    (build, attempt): (BuildId, AttemptId),
    machine: MachineId,
    what: &str,
) -> Result<(), IllegalTransition> {
    give_to(draft, build, machine);
    let bound = BuildState::Bound {
        machine,
        attempt,
        since: draft.now,
    };
    let why = why(draft, build, machine, what);
    draft.enter_build(build, bound, format!("bound to {machine}, {why}"))?;
    let number = draft
        .books
        .builds
        .get(&build)
        .map_or(1, |build| build.attempts);
    draft.insert_attempt(Attempt {
        id: attempt,
        build,
        number,
        machine,
        bound_at: draft.now,
        state: AttemptState::Bound,
        steps: Vec::new(),
        cursor: Cursor::default(),
        rev: 0,
    });
    Ok(())
}

/// Notes whose build a machine has got.
fn give_to(draft: &mut Draft<'_>, build: BuildId, machine: MachineId) {
    if let Some(project) = project_of(draft, build) {
        let image = draft.books.machines.get(&machine).map(|m| m.image.clone());
        let reuse = draft.books.wish_of(build, &image.unwrap_or_default());
        draft.change_machine(machine, |machine| machine.given_to(project, reuse));
    }
}

/// Why a build is given a machine, and what had kept it from one, for people.
fn why(draft: &Draft<'_>, build: BuildId, machine: MachineId, what: &str) -> String {
    let image = draft.books.machines.get(&machine).map(|m| m.image.as_str());
    let rank = image.and_then(|image| draft.books.rank_of(build, image));
    let rank = rank.map_or_else(String::new, |rank| format!("; {rank}"));
    let waited = draft.books.waited_for(build, draft.now);
    let waited = waited.map_or_else(String::new, |why| format!("{WAITED}{why}"));
    format!("{what}{rank}{waited}")
}

fn project_of(draft: &Draft<'_>, build: BuildId) -> Option<String> {
    let build = draft.books.builds.get(&build)?;
    Some(build.spec.project.clone())
}

fn intend(
    draft: &mut Draft<'_>,
    id: MachineId,
    image: &Image,
    offering: &Offering,
    claim: Option<(BuildId, AttemptId)>,
) {
    let shape = offering.shape.clone();
    let usual = draft.books.capacity.skills(&image.spec.provider).billing;
    let billing = image.spec.billing.unwrap_or(usual);
    let message = format!(
        "launch of image {} version {} on {} at {}",
        image.name,
        image.version,
        offering.pool(),
        shape.price_usd_micro_per_hour
    );
    draft.insert_machine(Machine {
        id,
        image: image.name.clone(),
        image_version: image.version,
        provider: image.spec.provider.clone(),
        shape,
        zone: offering.zone.clone(),
        market: offering.market,
        asleep_usd_micro_per_hour: offering.asleep,
        launch: None,
        tariff: None,
        project: None,
        launched_for: claim.map(|(build, _)| build),
        state: MachineState::Intended {
            claims: claim.into(),
        },
        since: draft.now,
        created_at: draft.now,
        builds_done: 0,
        billed_until: draft.now,
        billed: Money::ZERO,
        at_most: None,
        billing,
        boot: None,
        hold: None,
        record: Record::default(),
        rev: 0,
    });
    draft.event(Subject::Machine(id), EventKind::MachineIntended, message);
}
