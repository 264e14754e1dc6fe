//! Step 4: machines that nothing was placed on and that have stood idle for long enough go, or go to
//! sleep where their policy says so; so do
//! machines on their way up that no build waits for any more.

use std::collections::BTreeSet;

use crate::model::{MachineId, Market, Reason, SleepKind, Timestamp};

use super::plan::{Action, Kept, Plan};
use super::retire::Pool;
use super::snapshot::{ImageIndex, MachineView, Phase, Snapshot};

/// Ends what is not worth keeping, and says until when the rest is kept.
pub(super) fn expire(snapshot: &Snapshot, now: Timestamp, pool: &Pool, plan: &mut Plan) {
    for (image, idle) in &pool.idle {
        let Some(view) = snapshot.image(*image) else {
            continue;
        };
        let mut asleep = pool.asleep_or_nearly(snapshot, *image);
        for (since, machine) in idle {
            let until = since.0 + view.idle_timeout;
            if now >= until {
                let may_sleep = view.sleep != SleepKind::Never
                    && asleep < view.max_asleep
                    && is_bought_to_keep(snapshot, *machine);
                asleep += u32::from(may_sleep);
                plan.actions.push(if may_sleep {
                    Action::Sleep {
                        machine: *machine,
                        how: view.sleep,
                    }
                } else {
                    Action::Drain {
                        machine: *machine,
                        reason: Reason::IdleTimeout,
                    }
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

impl Pool {
    /// Machines of an image that are asleep, or on their way there.
    fn asleep_or_nearly(&self, snapshot: &Snapshot, image: ImageIndex) -> u32 {
        let asleep = self.asleep.get(&image).map_or(0, BTreeSet::len);
        let nearly = |m: &&MachineView| m.image == image && m.phase == Phase::FallingAsleep;
        let nearly = snapshot.machines.values().filter(nearly).count();
        u32::try_from(asleep + nearly).unwrap_or(u32::MAX)
    }
}

/// Spare capacity cannot be stopped and kept.
fn is_bought_to_keep(snapshot: &Snapshot, machine: MachineId) -> bool {
    snapshot
        .machines
        .get(&machine)
        .is_some_and(|machine| machine.market == Market::OnDemand)
}
