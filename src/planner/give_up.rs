//! Step 6: builds that have found no capacity anywhere for too long are given up, with the reason; so
//! are those for which a budget has no room that says so.

use std::collections::BTreeSet;

use crate::model::{AtLimit, BuildId, BuildResult, Timestamp};

use super::budgets::Part;
use super::plan::{Action, Blocked, Plan, Waiting};
use super::report::blocked_words;
use super::snapshot::{QueueKey, Snapshot};

/// Gives up what has waited for longer than the operator wants to wait for capacity.
///
/// The wait counts from when the build began to look: not from its submission, for it may have waited
/// for others, or have had a machine that was lost.
pub(super) fn give_up(snapshot: &Snapshot, now: Timestamp, plan: &mut Plan) {
    let mut given_up = without_money(snapshot, now, plan);
    let Some(patience) = snapshot.capacity_wait else {
        plan.actions.extend(given_up);
        return;
    };
    let mut wake_at = None;
    for waiting in &plan.waiting {
        let (Blocked::Dry(..), Some(class)) = (&waiting.why, snapshot.classes.get(&waiting.class))
        else {
            continue;
        };
        let due = class.later.iter().take_while(|(at, _)| *at <= now);
        for key in class.ready.iter().chain(due.map(|(_, key)| key)) {
            let since = snapshot.looking_since.get(&key.build);
            let until = *since.unwrap_or(&key.submitted_at) + patience;
            if now < until {
                wake_at = Some(wake_at.map_or(until, |at: Timestamp| at.min(until)));
                continue;
            }
            let why = blocked_words(snapshot, &waiting.why);
            given_up.push(Action::GiveUp {
                build: key.build,
                result: BuildResult::InfraFailure,
                reason: format!("no capacity for {patience}: {why}"),
            });
        }
    }
    given_up = unplaced(plan, given_up);
    plan.actions.extend(given_up);
    if let Some(at) = wake_at {
        plan.wake(at);
    }
}

/// Leaves out builds of the plan, for a class that waits may have some that found a place, and what
/// is there twice.
fn unplaced(plan: &Plan, mut given_up: Vec<Action>) -> Vec<Action> {
    let mut seen: BTreeSet<BuildId> = plan.actions.iter().filter_map(Action::build).collect();
    given_up.retain(|action| action.build().is_none_or(|build| seen.insert(build)));
    given_up
}

/// Builds for which a budget has no room and that it does not let wait. What others may still cost
/// is waited for: they may turn out cheaper.
fn without_money(snapshot: &Snapshot, now: Timestamp, plan: &Plan) -> Vec<Action> {
    let mut given_up = Vec::new();
    for waiting in &plan.waiting {
        let Blocked::Budget(no_room) = &waiting.why else {
            continue;
        };
        let budget = snapshot.budgets.get(no_room.budget);
        if !budget.is_some_and(|budget| budget.is_known && budget.at_limit == AtLimit::Fail)
            || !no_room.is_spent
        {
            continue;
        }
        let reason = blocked_words(snapshot, &waiting.why);
        given_up.extend(
            of_it(snapshot, now, waiting)
                .into_iter()
                .map(|key| Action::GiveUp {
                    build: key.build,
                    result: BuildResult::OverBudget,
                    reason: reason.clone(),
                }),
        );
    }
    unplaced(plan, given_up)
}

/// The builds that wait for the same reason: one whose own amount is used up waits alone.
fn of_it(snapshot: &Snapshot, now: Timestamp, waiting: &Waiting) -> Vec<QueueKey> {
    let Some(class) = snapshot.classes.get(&waiting.class) else {
        return Vec::new();
    };
    let due = class.later.iter().take_while(|(at, _)| *at <= now);
    let all = class.ready.iter().chain(due.map(|(_, key)| key));
    let alone =
        matches!(&waiting.why, Blocked::Budget(no_room) if matches!(no_room.part, Part::Build(_)));
    all.filter(|key| !alone || key.build == waiting.first)
        .copied()
        .collect()
}
