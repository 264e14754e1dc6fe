//! Step 2: queued builds to machines: busy ones that have room first, then idle ones, then ones that
//! are tidied up and idle in a moment, then ones that are coming anyway, then ones asleep, then launches on the cheapest fitting image that limits and
//! capacity allow.

use crate::model::{AttemptId, BuildId, MachineId, Timestamp};

use super::budgets::Part;
use super::kinds::{Kind, Kinds};
use super::plan::{Action, Blocked, Plan, Waiting};
use super::pools::Open;
use super::retire::Pool;
use super::search::Search;
use super::slots::Shared;
use super::snapshot::{Candidate, Class, ClassId, Paused, QueueKey, Snapshot};
use super::turns::Turns;

/// Places builds, flow by flow and within a flow by age, until nothing more can be placed.
///
/// A class that was blocked once stays blocked: what the pool gains during a pass is room on machines
/// that the class could have had alone, and did not fit. So the pass looks at each class, and at each
/// placed build, once. A blocked class never holds up another one, which is work conservation; within
/// a class the queue order is strict.
pub(super) fn place(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    plan: &mut Plan,
    fresh_id: &mut dyn FnMut() -> u128,
) {
    let mut kinds = Kinds::default();
    let classes = snapshot.classes.iter();
    let mut cursors: Vec<Cursor<'_>> = classes
        .filter_map(|(id, class)| Cursor::new((*id, class), now, &mut kinds))
        .collect();
    let mut turns = Turns::new(snapshot);
    for (place, cursor) in cursors.iter_mut().enumerate() {
        if let Some(head) = cursor.queue.next() {
            turns.enter(cursor.class.flow(), head, place);
        }
    }
    while let Some((key, place)) = turns.next() {
        let Some(cursor) = cursors.get_mut(place) else {
            continue;
        };
        let Some(kind) = kinds.get_mut(cursor.kind) else {
            continue;
        };
        let flow = cursor.class.flow();
        let goes_on = match choose(snapshot, now, (&mut *pool, kind), cursor, key.build) {
            Ok(choice) => {
                match choice.into_action(key.build, fresh_id) {
                    Entered::Acts(action) => {
                        pool.shared.placed(snapshot, cursor.class, &action, now);
                        plan.actions.push(action);
                        turns.charge(flow);
                    }
                    Entered::Waits(why) => plan.waiting.push(Waiting {
                        class: cursor.id,
                        builds: 1,
                        first: key.build,
                        why,
                    }),
                }
                true
            }
            Err(why) => {
                let waiting = cursor.waiting(key, why);
                let goes_on = waiting.builds < cursor.total - cursor.done;
                cursor.done += waiting.builds;
                plan.waiting.push(waiting);
                goes_on
            }
        };
        if let Some(next) = cursor.queue.next().filter(|_| goes_on) {
            turns.enter(flow, next, place);
        }
    }
    for (id, class) in &snapshot.classes {
        report_later(*id, class, now, plan);
    }
    plan.waiting.sort_by_key(|waiting| waiting.first);
    let untils = plan
        .waiting
        .iter()
        .filter_map(|waiting| waiting.why.until());
    for until in untils.collect::<Vec<_>>() {
        plan.wake(until);
    }
    let is_limited = |waiting: &Waiting| matches!(waiting.why, Blocked::Limit(_));
    if pool.room.has_grown && plan.waiting.iter().any(is_limited) {
        plan.wake(now);
    }
}

impl Blocked {
    /// When time alone may end the wait.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Paused(_, Paused { until, .. })
            | Self::Dry(_, until)
            | Self::Backoff(until)
            | Self::Tidying(_, until) => Some(*until),
            Self::Limit(reached) => reached.until,
            Self::Budget(no_room) => no_room.until,
            Self::NoImage | Self::Unresolved(_) | Self::NotSold(..) => None,
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
    /// Builds that are placed, or reported.
    done: usize,
    /// The place of its kind.
    kind: usize,
}

impl<'a> Cursor<'a> {
    fn new(
        (id, class): (ClassId, &'a Class),
        now: Timestamp,
        kinds: &mut Kinds<'a>,
    ) -> Option<Self> {
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
            done: 0,
            kind: kinds.place_of(class),
        })
    }

    /// The builds that wait with `first`: one whose own amount is used up waits alone.
    fn waiting(&self, first: QueueKey, why: Blocked) -> Waiting {
        let builds = if is_its_own(&why) {
            1
        } else {
            self.total - self.done
        };
        Waiting {
            class: self.id,
            builds,
            first: first.build,
            why,
        }
    }
}

/// Whether it is in the way of one build only.
pub(super) const fn is_its_own(why: &Blocked) -> bool {
    matches!(why, Blocked::Budget(no_room) if matches!(no_room.part, Part::Build(_)))
}

/// Where a build goes.
pub(super) enum Choice {
    Machine(MachineId),
    /// Onto this machine in a moment, or elsewhere after this time.
    Await(MachineId, Timestamp),
    Wake(MachineId, usize),
    Launch(Candidate, u32, Open),
}

/// What a plan says of a place that was found.
enum Entered {
    Acts(Action),
    Waits(Blocked),
}

impl Choice {
    fn into_action(self, build: BuildId, fresh_id: &mut dyn FnMut() -> u128) -> Entered {
        let mut attempt = || AttemptId::from_bits(fresh_id());
        Entered::Acts(match self {
            Self::Await(machine, until) => {
                return Entered::Waits(Blocked::Tidying(machine, until));
            }
            Self::Machine(machine) => Action::Bind {
                build,
                attempt: attempt(),
                machine,
            },
            Self::Wake(machine, offering) => Action::Wake {
                machine,
                offering,
                claim: Some((build, attempt())),
            },
            Self::Launch(candidate, version, open) => Action::Launch {
                claim: Some((build, attempt())),
                machine: MachineId::from_bits(fresh_id()),
                image: candidate.image,
                version,
                market: open.market,
                offerings: open.places,
            },
        })
    }
}

fn choose(
    snapshot: &Snapshot,
    now: Timestamp,
    (pool, kind): (&mut Pool, &mut Kind),
    cursor: &mut Cursor<'_>,
    build: BuildId,
) -> Result<Choice, Blocked> {
    let mut why = Blocked::NoImage;
    let mut search = Search {
        snapshot,
        now,
        class: cursor.class,
        build: Some(build),
        why: &mut why,
    };
    let up = search
        .join(pool, Shared::take_busy)
        .or_else(|| search.take(&mut pool.idle, &mut pool.room, &mut kind.idle))
        .map(Choice::Machine);
    let choice = up
        .or_else(|| search.await_tidying(pool))
        .or_else(|| search.join(pool, Shared::take_coming).map(Choice::Machine))
        .or_else(|| {
            let taken = search.take(&mut pool.coming, &mut pool.room, &mut kind.coming);
            taken.map(Choice::Machine)
        })
        .or_else(|| search.wake(pool, &mut kind.asleep))
        .or_else(|| search.launch(pool, &mut kind.launch));
    cursor.done += usize::from(choice.is_some());
    choice.ok_or(why)
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
