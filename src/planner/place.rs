//! Step 2: queued builds to machines: idle ones first, then ones that are coming anyway, then
//! launches on the cheapest fitting image that the limits allow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::{AttemptId, BuildId, MachineId, Timestamp};

use super::plan::{Action, Blocked, Plan, Waiting};
use super::retire::Pool;
use super::snapshot::{Candidate, Class, ClassId, ImageIndex, QueueKey, Snapshot};

/// Places builds in queue order until nothing more can be placed.
///
/// Nothing in the pool grows during a pass, so a class that was blocked once stays blocked: the
/// pass looks at each class, and at each placed build, once. A blocked class never holds up another
/// one, which is work conservation; within a class the queue order is strict.
pub(super) fn place(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    plan: &mut Plan,
    fresh_id: &mut dyn FnMut() -> u128,
) {
    let mut cursors: Vec<Cursor<'_>> = snapshot
        .classes
        .iter()
        .filter_map(|(id, class)| Cursor::new(*id, class, now))
        .collect();
    let mut heads: BinaryHeap<Reverse<(QueueKey, usize)>> = cursors
        .iter_mut()
        .enumerate()
        .filter_map(|(place, cursor)| Some(Reverse((cursor.queue.next()?, place))))
        .collect();
    while let Some(Reverse((key, place))) = heads.pop() {
        let Some(cursor) = cursors.get_mut(place) else {
            continue;
        };
        match choose(snapshot, now, pool, cursor) {
            Ok(choice) => {
                plan.actions.push(choice.into_action(key.build, fresh_id));
                if let Some(next) = cursor.queue.next() {
                    heads.push(Reverse((next, place)));
                }
            }
            Err(why) => plan.waiting.push(cursor.waiting(key, why)),
        }
    }
    for (id, class) in &snapshot.classes {
        report_later(*id, class, now, plan);
    }
    plan.waiting.sort_by_key(|waiting| waiting.first);
    for until in plan
        .waiting
        .iter()
        .filter_map(|waiting| waiting.why.until())
        .collect::<Vec<_>>()
    {
        plan.wake(until);
    }
}

impl Blocked {
    /// When time alone may end the wait.
    const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Cooling(until) | Self::Backoff(until) => Some(*until),
            Self::NoImage | Self::Limit(_) => None,
        }
    }
}

/// How far a class has been looked at.
struct Cursor<'a> {
    id: ClassId,
    class: &'a Class,
    /// Builds whose time has come, in queue order.
    queue: Box<dyn Iterator<Item = QueueKey> + 'a>,
    total: usize,
    placed: usize,
    /// Candidates before this one have no idle machine left.
    idle_from: usize,
}

impl<'a> Cursor<'a> {
    fn new(id: ClassId, class: &'a Class, now: Timestamp) -> Option<Self> {
        let due: Vec<QueueKey> = class
            .later
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, key)| *key)
            .collect();
        let total = class.ready.len() + due.len();
        let queue: Box<dyn Iterator<Item = QueueKey>> = if due.is_empty() {
            Box::new(class.ready.iter().copied())
        } else {
            let mut all: Vec<QueueKey> = class.ready.iter().copied().chain(due).collect();
            all.sort_unstable();
            Box::new(all.into_iter())
        };
        (total > 0).then_some(Self {
            id,
            class,
            queue,
            total,
            placed: 0,
            idle_from: 0,
        })
    }

    const fn waiting(&self, first: QueueKey, why: Blocked) -> Waiting {
        Waiting {
            class: self.id,
            builds: self.total - self.placed,
            first: first.build,
            why,
        }
    }
}

/// Where a build goes.
enum Choice {
    Machine(MachineId),
    Launch(Candidate, u32),
}

impl Choice {
    fn into_action(self, build: BuildId, fresh_id: &mut dyn FnMut() -> u128) -> Action {
        let attempt = AttemptId::from_bits(fresh_id());
        match self {
            Self::Machine(machine) => Action::Bind {
                build,
                attempt,
                machine,
            },
            Self::Launch(candidate, version) => Action::Launch {
                machine: MachineId::from_bits(fresh_id()),
                image: candidate.image,
                version,
                shape: candidate.shape,
                build,
                attempt,
            },
        }
    }
}

fn choose(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    cursor: &mut Cursor<'_>,
) -> Result<Choice, Blocked> {
    let choice = match take_idle(snapshot, pool, cursor).or_else(|| take_coming(pool, cursor.class))
    {
        Some(machine) => Choice::Machine(machine),
        None => launch(snapshot, now, pool, cursor.class)?,
    };
    cursor.placed += 1;
    Ok(choice)
}

fn take_idle(snapshot: &Snapshot, pool: &mut Pool, cursor: &mut Cursor<'_>) -> Option<MachineId> {
    let class = cursor.class;
    while let Some(candidate) = class.candidates.get(cursor.idle_from) {
        if let Some(idle) = pool.idle.get_mut(&candidate.image) {
            let fits = |id: &MachineId| {
                !class.fresh
                    || snapshot
                        .machines
                        .get(id)
                        .is_some_and(|m| m.builds_done == 0)
            };
            let found = idle.iter().find(|(_, id)| fits(id)).copied();
            if let Some(key) = found {
                idle.remove(&key);
                return Some(key.1);
            }
        }
        cursor.idle_from += 1;
    }
    None
}

fn take_coming(pool: &mut Pool, class: &Class) -> Option<MachineId> {
    if pool.coming.is_empty() {
        return None;
    }
    class
        .candidates
        .iter()
        .find_map(|candidate| pool.coming.get_mut(&candidate.image)?.pop_first())
        .map(|(_, id)| id)
}

fn launch(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    class: &Class,
) -> Result<Choice, Blocked> {
    let mut why = Blocked::NoImage;
    for candidate in &class.candidates {
        let Some(image) = snapshot.image(candidate.image) else {
            continue;
        };
        let Some(version) = image.version else {
            continue;
        };
        if let Some(until) = image.cooling_until.filter(|until| now < *until) {
            why = sooner(why, Blocked::Cooling(until));
            continue;
        }
        if let Some(limit) = reached_limit(snapshot, pool, candidate) {
            why = sooner(why, Blocked::Limit(limit));
            continue;
        }
        *pool.count.entry(candidate.image).or_default() += 1;
        return Ok(Choice::Launch(*candidate, version));
    }
    Err(why)
}

/// The reason worth telling: a limit (somebody can act) before a cool-down (it passes).
fn sooner(known: Blocked, other: Blocked) -> Blocked {
    match (&known, &other) {
        (Blocked::Limit(_), _) => known,
        (Blocked::Cooling(one), Blocked::Cooling(two)) if one <= two => known,
        _ => other,
    }
}

fn reached_limit(snapshot: &Snapshot, pool: &Pool, candidate: &Candidate) -> Option<usize> {
    snapshot.limits.iter().position(|limit| {
        let covered = |(image, count): (&ImageIndex, &u32)| limit.covers(*image).then_some(*count);
        limit.covers(candidate.image)
            && pool.count.iter().filter_map(covered).sum::<u32>() >= limit.machines
    })
}

/// Builds that wait for their time are reported and woken for, not placed.
fn report_later(id: ClassId, class: &Class, now: Timestamp, plan: &mut Plan) {
    let mut later = class.later.iter().skip_while(|(at, _)| *at <= now);
    let Some((at, key)) = later.next() else {
        return;
    };
    plan.waiting.push(Waiting {
        class: id,
        builds: 1 + later.count(),
        first: key.build,
        why: Blocked::Backoff(*at),
    });
}
