//! Step 6: builds that have found no capacity anywhere for too long are given up, with the reason.

use crate::model::Timestamp;

use super::plan::{Action, Blocked, Plan};
use super::report::blocked_words;
use super::snapshot::Snapshot;

/// Gives up what has waited for longer than the operator wants to wait for capacity.
///
/// The wait counts from when the build began to look: not from its submission, for it may have waited
/// for others, or have had a machine that was lost.
pub(super) fn give_up(snapshot: &Snapshot, now: Timestamp, plan: &mut Plan) {
    let Some(patience) = snapshot.capacity_wait else {
        return;
    };
    let mut given_up = Vec::new();
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
                reason: format!("no capacity for {patience}: {why}"),
            });
        }
    }
    let placed: std::collections::BTreeSet<_> =
        plan.actions.iter().filter_map(Action::build).collect();
    given_up.retain(|action| action.build().is_none_or(|build| !placed.contains(&build)));
    plan.actions.extend(given_up);
    if let Some(at) = wake_at {
        plan.wake(at);
    }
}
