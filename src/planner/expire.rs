//! Step 4: machines that nothing was placed on and that have stood idle for long enough go; so do
//! machines on their way up that no build waits for any more.

use crate::model::{Reason, Timestamp};

use super::plan::{Action, Kept, Plan};
use super::retire::Pool;
use super::snapshot::Snapshot;

/// Ends what is not worth keeping, and says until when the rest is kept.
pub(super) fn expire(snapshot: &Snapshot, now: Timestamp, pool: &Pool, plan: &mut Plan) {
    for (image, idle) in &pool.idle {
        let Some(view) = snapshot.image(*image) else {
            continue;
        };
        for (since, machine) in idle {
            let until = since.0 + view.idle_timeout;
            if now >= until {
                let reason = Reason::IdleTimeout;
                plan.actions.push(Action::Drain {
                    machine: *machine,
                    reason,
                });
            } else {
                plan.kept.push(Kept {
                    machine: *machine,
                    until,
                });
                plan.wake(until);
            }
        }
    }
    for (_, machine) in pool.coming.values().flatten() {
        plan.actions.push(Action::Drain {
            machine: *machine,
            reason: Reason::Unneeded,
        });
    }
}
