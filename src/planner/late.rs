//! Step 3: builds that wait for a launch move to machines that became free meanwhile.
//!
//! A launch takes half a minute and more; until it is up, its build takes any machine that would do
//! and that no queued build wants. So the order in which machines get ready decides who runs where,
//! not the order in which they were launched, and no build waits beside a machine that it could have.
//! What was launched for it takes another build in the next pass, or goes. Where nobody's time counts, a
//! build does not move to a machine that costs more.

use super::kinds::Kinds;
use super::plan::{Action, Blocked, Plan};
use super::retire::Pool;
use super::search::Search;
use super::snapshot::{Class, MachineView, Phase, QueueKey, Snapshot};
use super::standing::IdleWhy;
use crate::model::{BuildId, MachineId, Rate, Timestamp};

/// Moves builds, the first in the queue's order first, to machines without a build.
pub(super) fn move_over(snapshot: &Snapshot, now: Timestamp, pool: &mut Pool, plan: &mut Plan) {
    if pool.idle.is_empty() || snapshot.coming.is_empty() {
        return;
    }
    let mut kinds = Kinds::default();
    for (key, class) in in_order(snapshot) {
        let Some((from, launched)) = launched_for(snapshot, key.build) else {
            continue;
        };
        let place = kinds.place_of(class);
        let Some(kind) = kinds.get_mut(place) else {
            continue;
        };
        let mut why = Blocked::NoImage;
        let mut search = Search {
            snapshot,
            now,
            class,
            build: Some(key.build),
            why: &mut why,
        };
        let found = search.look(&pool.idle, &pool.room, &mut kind.idle);
        // Images are looked at in the order of their prices: a later one costs no less.
        if !found.is_some_and(|found| is_worth(snapshot, found, launched)) {
            continue;
        }
        let Some(machine) = search.take(&mut pool.idle, &mut pool.room, &mut kind.idle) else {
            continue;
        };
        plan.actions.push(Action::Move {
            build: key.build,
            from,
            machine,
        });
        if launched.claims == 1 {
            // It counts as one that comes without a build, and stays until the next pass has looked
            // who takes it.
            pool.coming.add(launched.image, (launched.created_at, from));
            pool.held.insert(from);
        }
        plan.wake(now);
    }
}

/// Whether a build is better off on a free machine than on the one that is being launched for it.
fn is_worth<T>(
    snapshot: &Snapshot,
    ((_, id), free): ((T, MachineId), &MachineView),
    launched: &MachineView,
) -> bool {
    let terms = snapshot.idle.get(&id);
    let counts = terms.is_none_or(|terms| match terms.why {
        IdleWhy::Worth { value_of_wait, .. } => value_of_wait > Rate::default(),
        IdleWhy::Said => true,
    });
    counts || free.load().rate <= launched.load().rate
}

fn in_order(snapshot: &Snapshot) -> Vec<(QueueKey, &Class)> {
    let builds = snapshot.coming.values().filter_map(|(class, key)| {
        let class = snapshot.classes.get(class)?;
        Some((*key, class))
    });
    let mut builds: Vec<(QueueKey, &Class)> = builds.collect();
    builds.sort_by_key(|(key, _)| *key);
    builds
}

/// The machine that a build waits for, if that is still on its way.
fn launched_for(snapshot: &Snapshot, build: BuildId) -> Option<(MachineId, &MachineView)> {
    let id = snapshot.bound.get(&build)?.machine;
    let machine = snapshot.machines.get(&id)?;
    matches!(machine.phase, Phase::Coming { claimed: true }).then_some((id, machine))
}
