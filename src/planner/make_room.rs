//! Step 3: idle machines that no queued build can use, but that fill a limit others wait for, go.
//!
//! Without this step a queue that changes its needs would stand until the idle timeout.

use crate::model::{MachineId, Reason};

use super::limits::{Limit, Quota};
use super::plan::{Action, Blocked, Plan, Waiting};
use super::retire::{IdleKey, Pool};
use super::snapshot::{ImageIndex, Snapshot};

/// Drains, for each limit, the longest idle machines, as many as builds wait for it and no machine
/// is on its way out for yet.
pub(super) fn make_room(snapshot: &Snapshot, pool: &mut Pool, plan: &mut Plan) {
    for (place, limit) in snapshot.limits.iter().enumerate() {
        let waiting: usize = plan
            .waiting
            .iter()
            .filter(|waiting| waits_for_machines(&waiting.why, place))
            .map(|waiting| machines_for(snapshot, waiting))
            .sum();
        let ending = pool.room.used.get(place).map_or(0, |used| used.ending);
        let ending = usize::try_from(ending).unwrap_or(usize::MAX);
        let Some(missing) = waiting.checked_sub(ending).filter(|missing| *missing > 0) else {
            continue;
        };
        for (key, image) in longest_idle(snapshot, limit, pool)
            .into_iter()
            .take(missing)
        {
            pool.idle.remove(image, &key);
            if let Some(machine) = snapshot.machines.get(&key.1) {
                pool.room.ends(snapshot, machine);
            }
            plan.actions.push(Action::Drain {
                machine: key.1,
                reason: Reason::MakeRoom,
            });
        }
    }
}

/// Machines that the builds of a class need, filled as far as its best image allows.
fn machines_for(snapshot: &Snapshot, waiting: &Waiting) -> usize {
    let class = snapshot.classes.get(&waiting.class);
    let best = class.and_then(|class| class.candidates.first().filter(|_| !class.fresh));
    let image = best.and_then(|candidate| snapshot.image(candidate.image));
    let slots = image.map_or(1, |image| image.slots.max(1));
    waiting.builds.div_ceil(usize::try_from(slots).unwrap_or(1))
}

/// Whether builds wait for what an idle machine takes up: another build or hour is not made of that.
fn waits_for_machines(why: &Blocked, place: usize) -> bool {
    match why {
        Blocked::Limit(reached) => {
            reached.limit == place
                && match reached.quota {
                    Quota::Machines | Quota::Vcpus | Quota::Cost => true,
                    Quota::Builds | Quota::Launches => false,
                }
        }
        Blocked::NoImage
        | Blocked::Budget(_)
        | Blocked::Paused(..)
        | Blocked::Dry(..)
        | Blocked::Unresolved(_)
        | Blocked::NotSold(..)
        | Blocked::Tidying(..)
        | Blocked::Backoff(_) => false,
    }
}

/// Idle machines of which a limit speaks, those first that have been idle for longest.
fn longest_idle(snapshot: &Snapshot, limit: &Limit, pool: &Pool) -> Vec<(IdleKey, ImageIndex)> {
    let counts = |id: &MachineId| {
        let machine = snapshot.machines.get(id);
        machine.is_some_and(|m| limit.scope.covers(m.image, m.project, &[]))
    };
    let idle = pool.idle.iter();
    let idle = idle.flat_map(|(image, idle)| idle.iter().map(move |key| (*key, image)));
    let mut idle: Vec<(IdleKey, ImageIndex)> = idle.filter(|(key, _)| counts(&key.1)).collect();
    idle.sort_unstable_by(|one, other| other.cmp(one));
    idle
}
