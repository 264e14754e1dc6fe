//! Step 5: machines that nothing was placed on and that have stood idle for long enough go, or go to
//! sleep where their policy says so; so do
//! machines on their way up that no build waits for any more.

use std::collections::BTreeMap;

use crate::model::{Billing, MachineId, Market, Reason, SleepKind, Timestamp};

use super::plan::{Action, Kept, Plan};
use super::retire::Pool;
use super::snapshot::{ImageIndex, ImageView, Snapshot};
use super::standing::{FloorWhy, IdleTerms, IdleWhy, KeptWhy};

/// Ends what is not worth keeping, and says until when the rest is kept.
pub(super) fn expire(snapshot: &Snapshot, now: Timestamp, pool: &Pool, plan: &mut Plan) {
    for (image, idle) in pool.idle.iter() {
        let Some(view) = snapshot.image(image) else {
            continue;
        };
        let mut asleep = pool.asleep_or_nearly(image);
        let floors = snapshot.warm.get(&image);
        let max_asleep = floors
            .map_or(0, |floors| floors.asleep)
            .max(view.max_asleep);
        for (since, machine) in idle {
            if pool.held.contains(machine) {
                plan.kept.push(Kept {
                    machine: *machine,
                    until: snapshot.changes_at.unwrap_or(now),
                    why: KeptWhy::Floor(floors.map_or(FloorWhy::Schedule, |floors| floors.why)),
                });
                continue;
            }
            let (until, why) = terms_of(snapshot, view, *machine, since.0).goes_at(since.0);
            if now >= until {
                let may_sleep = view.sleep != SleepKind::Never
                    && asleep < max_asleep
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
                    why,
                });
                plan.wake(until);
            }
        }
    }
    let unneeded = |(_, machine): &&(Timestamp, MachineId)| !pool.held.contains(machine);
    let coming = pool.coming.iter().flat_map(|(_, coming)| coming);
    for (_, machine) in coming.filter(unneeded) {
        plan.actions.push(Action::Drain {
            machine: *machine,
            reason: Reason::Unneeded,
        });
    }
}

/// What holds for an idle machine; its image's plain timeout where nothing else is known.
fn terms_of(
    snapshot: &Snapshot,
    image: &ImageView,
    machine: MachineId,
    since: Timestamp,
) -> IdleTerms {
    let known = snapshot.idle.get(&machine).copied();
    known.unwrap_or(IdleTerms {
        timeout: image.idle_timeout,
        why: IdleWhy::Said,
        billing: Billing::default(),
        billed_from: since,
    })
}

impl Pool {
    /// Machines of an image that are asleep, or on their way there.
    pub(super) fn asleep_or_nearly(&self, image: ImageIndex) -> u32 {
        let asleep = u32::try_from(self.asleep.count(image)).unwrap_or(u32::MAX);
        let of_image = |counts: &BTreeMap<ImageIndex, u32>| counts.get(&image).copied();
        let falling = of_image(&self.falling_asleep).unwrap_or(0);
        let dozing = of_image(&self.dozing).unwrap_or(0);
        asleep.saturating_add(falling).saturating_add(dozing)
    }
}

/// Spare capacity cannot be stopped and kept.
fn is_bought_to_keep(snapshot: &Snapshot, machine: MachineId) -> bool {
    snapshot
        .machines
        .get(&machine)
        .is_some_and(|machine| machine.market == Market::OnDemand)
}
