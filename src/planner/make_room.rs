//! Step 3: idle machines that no queued build can use, but that fill a limit others wait for, go.
//!
//! Without this step a queue that changes its needs would stand until the idle timeout.

use crate::model::{MachineId, Reason};

use super::plan::{Action, Blocked, Plan};
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
            .map(|waiting| waiting.builds)
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
