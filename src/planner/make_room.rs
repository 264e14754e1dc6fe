//! Step 3: idle machines that no queued build can use, but that fill a limit others wait for, go.
//!
//! Without this step a queue that changes its needs would stand until the idle timeout.

use crate::model::{MachineId, Reason};

use super::plan::{Action, Blocked, Plan, Waiting};
use super::retire::Pool;
use super::snapshot::{Limit, Snapshot};

/// Drains, for each limit, the longest idle machines, as many as builds wait for it and no machine
/// is on its way out for yet.
pub(super) fn make_room(snapshot: &Snapshot, pool: &mut Pool, plan: &mut Plan) {
    for (place, limit) in snapshot.limits.iter().enumerate() {
        let waiting: usize = plan
            .waiting
            .iter()
            .filter(|waiting| waiting.why == Blocked::Limit(place))
            .map(|waiting| machines_for(snapshot, waiting))
            .sum();
        let ending: u32 = pool
            .ending
            .iter()
            .filter(|(image, _)| limit.covers(**image))
            .map(|(_, count)| *count)
            .sum();
        for _ in usize::try_from(ending).unwrap_or(usize::MAX)..waiting {
            let Some(machine) = longest_idle(limit, pool) else {
                break;
            };
            plan.actions.push(Action::Drain {
                machine,
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

fn longest_idle(limit: &Limit, pool: &mut Pool) -> Option<MachineId> {
    let (image, key) = pool
        .idle
        .iter()
        .filter(|(image, _)| limit.covers(**image))
        .filter_map(|(image, idle)| Some((*image, *idle.last()?)))
        .max_by_key(|(_, key)| *key)?;
    pool.idle.get_mut(&image)?.remove(&key);
    *pool.ending.entry(image).or_default() += 1;
    Some(key.1)
}
