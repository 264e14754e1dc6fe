//! Step 4: machines that stand idle for longer than money was set aside for go when a budget has
//! nothing left for them.
//!
//! For the time after its last build a machine is given its image's plain idle timeout; a learnt
//! timeout, one of its project or a floor may want it for longer, and costs what is left of a budget.

use std::collections::BTreeMap;

use crate::model::{Money, Rate, Reason, Span, Timestamp};

use super::budgets::Part;
use super::plan::{Action, Plan};
use super::retire::{IdleKey, Pool};
use super::snapshot::{ImageIndex, MachineView, Phase, Snapshot};

/// Drains what cannot be paid for any longer, and wakes when the money for the others ends.
pub(super) fn afford(snapshot: &Snapshot, now: Timestamp, pool: &mut Pool, plan: &mut Plan) {
    if snapshot.budgets.is_empty() {
        return;
    }
    let mut rates: BTreeMap<(usize, Part), (Money, u64)> = BTreeMap::new();
    for (image, key) in idle(pool) {
        let Some(machine) = snapshot.machines.get(&key.1) else {
            continue;
        };
        let set_aside = set_aside_until(snapshot, machine);
        if now < set_aside {
            plan.wake(set_aside);
            continue;
        }
        let left = pool.room.left_for(snapshot, machine);
        if left.iter().any(|(_, left)| *left <= Money::ZERO) {
            pool.idle.remove(image, &key);
            pool.room.ends(snapshot, machine);
            plan.actions.push(Action::Drain {
                machine: key.1,
                reason: Reason::IdleTimeout,
            });
            continue;
        }
        for (of, left) in left {
            let rate = machine.meter.rate.micros_per_hour();
            let all = rates.entry(of).or_insert((left, 0));
            all.1 = all.1.saturating_add(rate);
        }
    }
    let ends = rates.into_values();
    for lasts in ends.filter_map(|(left, rate)| lasts(left, Rate::from_micros_per_hour(rate))) {
        plan.wake(now + lasts);
    }
}

fn idle(pool: &Pool) -> Vec<(ImageIndex, IdleKey)> {
    let images = pool.idle.iter();
    let all = images.flat_map(|(image, keys)| keys.iter().map(move |key| (image, *key)));
    all.collect()
}

/// Until when money is set aside for a machine without a build.
fn set_aside_until(snapshot: &Snapshot, machine: &MachineView) -> Timestamp {
    let idle = snapshot
        .image(machine.image)
        .map_or(Span::ZERO, |image| image.idle_timeout);
    match machine.phase {
        Phase::Idle(since) => since + idle,
        Phase::Coming { .. }
        | Phase::Busy
        | Phase::Asleep(_)
        | Phase::FallingAsleep
        | Phase::Ending => Timestamp::from_micros(i64::MAX),
    }
}

/// How long an amount lasts, to the begun second.
fn lasts(left: Money, rate: Rate) -> Option<Span> {
    let per_hour = u128::from(rate.micros_per_hour());
    let micros = u128::try_from(left.micros()).ok()?;
    let secs = (micros * 3_600).checked_div(per_hour)? + 1;
    Some(Span::from_secs(u64::try_from(secs).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AtLimit, BudgetEach, MachineId, Period};
    use crate::planner::tests::{NOW, house, idle_for, machine, planned};
    use crate::planner::{BudgetView, FloorWhy, Floors, IdleTerms, IdleWhy, Scope};

    const DOLLAR: i64 = 1_000_000;

    /// A house with one idle machine that a learnt timeout keeps for hours, and a budget of which so
    /// much is left.
    fn kept(left: i64) -> (Snapshot, MachineId) {
        let mut snapshot = house();
        let id = machine(&mut snapshot, 1, ImageIndex(0), idle_for(3_600));
        let terms = IdleTerms {
            timeout: Span::from_secs(4 * 3_600),
            why: IdleWhy::Said,
            billing: crate::model::Billing::default(),
            billed_from: NOW,
        };
        snapshot.idle.insert(id, terms);
        if let Some(view) = snapshot.machines.get_mut(&id) {
            view.meter.rate = Rate::from_micros_per_hour(1_000_000);
            view.meter.unbilled_since = NOW;
        }
        snapshot.budgets.push(BudgetView {
            policy: "money".to_owned(),
            name: "day".to_owned(),
            scope: Scope::default(),
            each: BudgetEach::All,
            per: Period::Day,
            amount: Money::from_micros(DOLLAR),
            at_limit: AtLimit::Hold,
            window: None,
            spent: BTreeMap::from([(Part::All, Money::from_micros(DOLLAR - left))]),
            approved: BTreeMap::new(),
            carry: None,
            is_known: true,
        });
        (snapshot, id)
    }

    fn drained(snapshot: &Snapshot, id: MachineId) -> bool {
        let is_it =
            |action: &Action| matches!(action, Action::Drain { machine, .. } if *machine == id);
        planned(snapshot).actions.iter().any(is_it)
    }

    #[test]
    fn a_machine_that_is_kept_beyond_what_was_set_aside_goes_with_the_money() {
        let (snapshot, id) = kept(0);
        assert!(drained(&snapshot, id));
        let (mut snapshot, id) = kept(DOLLAR / 2);
        assert!(!drained(&snapshot, id));
        // It wakes when half an hour at a dollar an hour is over.
        let wakes = planned(&snapshot).wake_at.unwrap();
        assert_eq!(wakes.since(NOW), Span::from_secs(1_801));
        snapshot.budgets.clear();
        assert!(!drained(&snapshot, id));
    }

    #[test]
    fn a_floor_keeps_no_machine_without_money() {
        let (mut snapshot, id) = kept(0);
        let floors = Floors {
            running: 1,
            asleep: 0,
            sleep: crate::model::SleepKind::Never,
            why: FloorWhy::Schedule,
            max_age: None,
            ceiling: None,
        };
        snapshot.warm.insert(ImageIndex(0), floors);
        assert!(drained(&snapshot, id));
    }
}
