//! Step 4: machines that policies want to be at hand, running or asleep, before anybody asks.
//!
//! A spare is a machine without a build that is idle or on its way up. The youngest idle ones are
//! kept, as many as the floor says, so that the others can go; what is missing is woken or launched
//! under the same limits as for builds. Spares that nobody used for too long are replaced. All of it
//! ends when the day's ceiling is reached: then only builds keep machines.
//!
//! The ceiling counts what idle machines of the image cost, whatever they are kept for, and the boots
//! of spares; machines asleep are counted when they wake or end.

use crate::model::{MachineId, Market, Money, Rate, Reason, SleepKind, Span, Timestamp};

use super::place::Choice;
use super::plan::{Action, Blocked, FloorNote, Plan};
use super::retire::{IdleKey, Pool};
use super::search::spare;
use super::snapshot::{Candidate, Class, ImageIndex, ImageView, MachineView, Phase, Snapshot};
use super::standing::Floors;

/// A spare that cannot stand for this long under the ceiling is not worth its boot.
const LEAST_STAND: Span = Span::from_secs(300);

/// Keeps, wakes and launches what the floors ask for.
pub(super) fn warm(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    plan: &mut Plan,
    fresh_id: &mut dyn FnMut() -> u128,
) {
    if let Some(at) = snapshot.changes_at {
        plan.wake(at);
    }
    for (index, floors) in &snapshot.warm {
        let Some(image) = snapshot.image(*index).filter(|i| i.version.is_some()) else {
            continue;
        };
        let mut tier = Tier {
            snapshot,
            now,
            index: *index,
            image,
            floors: *floors,
        };
        tier.replace_unused(pool, plan);
        tier.obey_ceiling(pool, plan);
        let extra = tier.keep(pool);
        tier.put_to_sleep(extra, pool, plan);
        tier.fill(pool, plan, fresh_id);
    }
}

/// Whether a floor needs a machine that has been asleep for long enough: the ones that fell asleep
/// last are kept.
pub(super) fn is_needed_asleep(snapshot: &Snapshot, id: MachineId, machine: &MachineView) -> bool {
    let floors = snapshot.warm.get(&machine.image);
    let Some(floors) = floors.filter(|floors| floors.asleep > 0) else {
        return false;
    };
    let is_younger = |(other, view): &(&MachineId, &MachineView)| match (view.phase, machine.phase)
    {
        (Phase::Asleep(one), Phase::Asleep(two)) => {
            view.image == machine.image && (one, **other) > (two, id)
        }
        _ => false,
    };
    let younger = snapshot.machines.iter().filter(is_younger).count();
    u32::try_from(younger).is_ok_and(|younger| younger < floors.asleep)
}

/// The floors of one image.
struct Tier<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    index: ImageIndex,
    image: &'a ImageView,
    floors: Floors,
}

impl Tier<'_> {
    fn machine(&self, id: MachineId) -> Option<&MachineView> {
        self.snapshot.machines.get(&id)
    }

    /// Idle machines, the most recently idled first.
    fn idle(&self, pool: &Pool) -> Vec<IdleKey> {
        pool.idle.of(self.index).copied().collect()
    }

    /// Ends spares that have run nothing for too long; what they leave is filled as anything missing.
    fn replace_unused(&self, pool: &mut Pool, plan: &mut Plan) {
        let Some(max_age) = self.floors.max_age else {
            return;
        };
        for key in self.idle(pool) {
            let unused = self.machine(key.1).filter(|m| m.builds_done == 0);
            let Some(until) = unused.map(|machine| machine.created_at + max_age) else {
                continue;
            };
            if self.now < until {
                plan.wake(until);
                continue;
            }
            pool.idle.remove(self.index, &key);
            if let Some(machine) = self.machine(key.1) {
                pool.room.ends(self.snapshot, machine);
            }
            plan.actions.push(Action::Drain {
                machine: key.1,
                reason: Reason::Unused,
            });
        }
    }

    /// Lowers the floors to what the rest of the day's money allows, and wakes when it will be gone.
    fn obey_ceiling(&mut self, pool: &Pool, plan: &mut Plan) {
        let Some(ceiling) = self.floors.ceiling else {
            return;
        };
        plan.wake(ceiling.until);
        let idle = self.idle(pool);
        let standing = |key: &IdleKey| {
            let price = self.machine(key.1)?.price;
            Some(price.cost_of(self.now.since(key.0.0.max(ceiling.from))))
        };
        let live: Money = idle.iter().filter_map(standing).sum();
        let left = ceiling.max - ceiling.spent - live;
        let price = self.price();
        let stand = price.cost_of(LEAST_STAND).micros();
        let allowed = match left.micros().max(0).checked_div(stand) {
            _ if left <= Money::ZERO => 0,
            // What costs nothing is never too much.
            None => u32::MAX,
            Some(allowed) => u32::try_from(allowed).unwrap_or(u32::MAX),
        };
        self.floors.running = self.floors.running.min(allowed);
        if allowed == 0 {
            self.floors.asleep = 0;
        }
        let rate: u64 = idle
            .iter()
            .filter_map(|key| Some(self.machine(key.1)?.price.micros_per_hour()))
            .sum();
        let next = left.micros() - i64::from(self.floors.running).saturating_mul(stand);
        let lasts = lasts(next, Rate::from_micros_per_hour(rate));
        if let Some(lasts) = lasts.filter(|_| allowed > 0) {
            plan.wake(self.now + lasts);
        }
    }

    /// Price of the cheapest way to launch one.
    fn price(&self) -> Rate {
        let prices = self.image.offerings.iter().map(|offering| offering.price);
        prices.min().unwrap_or_default()
    }

    /// Holds what the running floor needs; the idle machines beyond it.
    fn keep(&self, pool: &mut Pool) -> Vec<IdleKey> {
        let idle = self.idle(pool);
        let running = usize::try_from(self.floors.running).unwrap_or(usize::MAX);
        let (kept, extra) = idle.split_at(running.min(idle.len()));
        pool.held.extend(kept.iter().map(|key| key.1));
        extra.to_vec()
    }

    /// Machines that have run nothing and that the running floor does not need were made for the
    /// floor of those asleep.
    fn put_to_sleep(&self, extra: Vec<IdleKey>, pool: &mut Pool, plan: &mut Plan) {
        let mut missing = self.missing_asleep(pool);
        let can_sleep = |m: &&MachineView| m.builds_done == 0 && m.market == Market::OnDemand;
        for key in extra {
            let fits = self.machine(key.1).as_ref().is_some_and(can_sleep);
            if missing == 0 || !fits || self.floors.sleep == SleepKind::Never {
                continue;
            }
            missing -= 1;
            pool.idle.remove(self.index, &key);
            *pool.dozing.entry(self.index).or_default() += 1;
            plan.actions.push(Action::Sleep {
                machine: key.1,
                how: self.floors.sleep,
            });
        }
    }

    fn missing_asleep(&self, pool: &Pool) -> u32 {
        let asleep = pool.asleep_or_nearly(self.index);
        self.floors.asleep.saturating_sub(asleep)
    }

    /// Wakes and launches what is missing, counting what is on its way.
    fn fill(&self, pool: &mut Pool, plan: &mut Plan, fresh_id: &mut dyn FnMut() -> u128) {
        let idle = self.idle(pool).len() + pool.nearly_idle(self.index);
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        let (mut running, mut asleep) = (
            self.floors.running.saturating_sub(idle),
            self.missing_asleep(pool),
        );
        let coming = pool.coming.of(self.index).copied();
        for (_, machine) in coming.collect::<Vec<_>>() {
            let place = if running > 0 {
                &mut running
            } else {
                &mut asleep
            };
            if *place == 0 {
                break;
            }
            *place -= 1;
            pool.held.insert(machine);
        }
        let blocked = self.make(running, pool, plan, fresh_id, false);
        let blocked = blocked.or_else(|| self.make(asleep, pool, plan, fresh_id, true));
        if let Some(Some(until)) = blocked.as_ref().map(Blocked::until) {
            plan.wake(until);
        }
        if self.floors.running > 0 || self.floors.asleep > 0 {
            plan.floors.push(FloorNote {
                image: self.index,
                floors: self.floors,
                blocked,
            });
        }
    }

    /// Makes machines ready that nobody has asked for yet; what is in the way.
    fn make(
        &self,
        count: u32,
        pool: &mut Pool,
        plan: &mut Plan,
        fresh_id: &mut dyn FnMut() -> u128,
        to_sleep: bool,
    ) -> Option<Blocked> {
        let class = Class {
            on_demand: to_sleep,
            candidates: vec![Candidate {
                price: self.price(),
                spare: 0,
                image: self.index,
            }]
            .into(),
            ..Class::default()
        };
        for _ in 0..count {
            let spare_asleep = pool.asleep_or_nearly(self.index) > self.floors.asleep;
            let may_wake = !to_sleep && spare_asleep;
            match spare(self.snapshot, self.now, pool, &class, may_wake) {
                Ok(choice) => plan.actions.extend(choice.into_spare(fresh_id)),
                Err(why) => return Some(why),
            }
        }
        None
    }
}

impl Choice {
    /// The action that makes a machine ready without a build; none where it is ready.
    fn into_spare(self, fresh_id: &mut dyn FnMut() -> u128) -> Option<Action> {
        match self {
            Self::Machine(_) | Self::Await(..) => None,
            Self::Wake(machine, offering) => Some(Action::Wake {
                machine,
                offering,
                claim: None,
            }),
            Self::Launch(candidate, version, open) => Some(Action::Launch {
                machine: MachineId::from_bits(fresh_id()),
                image: candidate.image,
                version,
                market: open.market,
                offerings: open.places,
                claim: None,
            }),
        }
    }
}

/// How long an amount lasts at a rate, to the begun second; none for one that is never used up.
fn lasts(micros: i64, rate: Rate) -> Option<Span> {
    let per_hour = u128::from(rate.micros_per_hour());
    if per_hour == 0 {
        return None;
    }
    let micros = u128::try_from(micros.max(0)).unwrap_or(0);
    let secs = micros * 3_600 / per_hour + 1;
    Some(Span::from_secs(u64::try_from(secs).unwrap_or(u64::MAX)))
}
