//! What queued builds have waited for, so that a build that gets a machine can say what kept it from
//! one. Kept in memory: a restart forgets what was before it.

use std::collections::BTreeMap;
use std::mem::discriminant;

use crate::model::{BuildId, BuildState, Span, Timestamp};
use crate::planner::{self, Blocked, ClassId, Plan, Waiting};

use super::books::Books;

/// Most reasons in a row that are kept of a class: what kept a build waiting for long is among the
/// last ones, unless they change all the time.
const MOST_STRETCHES: usize = 8;

/// What queued builds have waited for, by what they need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits {
    /// When the planner looked last.
    at: Timestamp,
    by_class: BTreeMap<ClassId, Vec<Stretch>>,
}

/// A time in which builds waited for the same.
#[derive(Debug, Clone)]
struct Stretch {
    from: Timestamp,
    why: Blocked,
}

impl Waits {
    /// The stretches of a class, with what it waits for now.
    fn with(&mut self, waiting: &Waiting, now: Timestamp) -> Vec<Stretch> {
        let mut stretches = self.by_class.remove(&waiting.class).unwrap_or_default();
        let last = stretches.last_mut();
        if let Some(last) = last.filter(|last| is_like(&last.why, &waiting.why)) {
            last.why = waiting.why.clone();
        } else {
            if stretches.len() == MOST_STRETCHES {
                stretches.remove(0);
            }
            stretches.push(Stretch {
                from: now,
                why: waiting.why.clone(),
            });
        }
        stretches
    }

    /// What a class has waited for longest since a time.
    fn longest(&self, class: ClassId, since: Timestamp, now: Timestamp) -> Option<&Blocked> {
        let stretches = self.by_class.get(&class)?;
        let ends = stretches.iter().skip(1).map(|next| next.from);
        let ends = ends.chain(std::iter::once(now));
        let lengths = stretches.iter().zip(ends).map(|(stretch, end)| {
            let length: Span = end.since(stretch.from.max(since));
            (length, stretch)
        });
        let longest = lengths.max_by_key(|(length, _)| *length);
        longest.map(|(_, stretch)| &stretch.why)
    }
}

/// Whether it is the same that is in the way, whatever its figures are.
fn is_like(one: &Blocked, other: &Blocked) -> bool {
    if let (Blocked::Limit(one), Blocked::Limit(other)) = (one, other) {
        return (one.limit, one.quota) == (other.limit, other.quota);
    }
    if let (Blocked::Budget(one), Blocked::Budget(other)) = (one, other) {
        return one.budget == other.budget;
    }
    discriminant(one) == discriminant(other)
}

impl Books {
    /// Notes what a pass says of builds that stay queued.
    pub(crate) fn note_waits(&mut self, plan: &Plan, now: Timestamp) {
        self.waits.at = now;
        let mut by_class = BTreeMap::new();
        for waiting in &plan.waiting {
            // Of several reasons of a class the first is that of its oldest build.
            let of_class = by_class.entry(waiting.class);
            of_class.or_insert_with(|| self.waits.with(waiting, now));
        }
        self.waits.by_class = by_class;
    }

    /// What a queued build has waited for longest, as a clause; none if the planner has not seen it
    /// wait.
    pub(super) fn waited_for(&self, build: BuildId, now: Timestamp) -> Option<String> {
        let BuildState::Queued { since, .. } = self.builds.get(&build)?.state else {
            return None;
        };
        let class = self.snapshot.queued.get(&build)?.class;
        let why = self.waits.longest(class, since, now)?;
        if self.waits.at <= since {
            return None;
        }
        let words = planner::blocked_words(&self.snapshot, why);
        // What follows says when it would have been tried again.
        words.split("; ").next().map(str::to_owned)
    }

    /// Which of the images that fit a queued build an image is, as a clause.
    pub(super) fn rank_of(&self, build: BuildId, image: &str) -> Option<String> {
        let class = self.snapshot.queued.get(&build)?.class;
        let candidates = &self.snapshot.classes.get(&class)?.candidates;
        let index = self.known_image(image)?;
        let place = candidates.iter().position(|c| c.image == index)?;
        Some(match candidates.len() {
            1 => format!("{image} is the only image that fits"),
            all => format!("{image} is image {} of {all} that fit", place + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::{Quota, Reached};

    const CLASS: ClassId = ClassId(3);

    const fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    fn limit(limit: usize, until: Option<i64>) -> Blocked {
        Blocked::Limit(Reached {
            limit,
            quota: Quota::Machines,
            until: until.map(at),
        })
    }

    fn noted(looks: &[(i64, Blocked)]) -> Books {
        let mut books = Books::default();
        for (secs, why) in looks {
            let waiting = Waiting {
                class: CLASS,
                builds: 1,
                first: BuildId::from_bits(1),
                why: why.clone(),
            };
            let plan = Plan {
                waiting: vec![waiting],
                ..Plan::default()
            };
            books.note_waits(&plan, at(*secs));
        }
        books
    }

    #[test]
    fn what_was_in_the_way_for_longest_is_told() {
        let tidying = Blocked::Tidying(crate::model::MachineId::from_bits(1), at(99));
        let looks = [
            (0, Blocked::NoImage),
            (10, limit(0, None)),
            (20, limit(0, Some(70))),
            (40, limit(1, None)),
            (45, tidying.clone()),
        ];
        let books = noted(&looks);
        let longest = |since, now| books.waits.longest(CLASS, at(since), at(now)).cloned();
        assert_eq!(longest(0, 46), Some(limit(0, Some(70))));
        // A build that came later has not waited for what was before it.
        assert_eq!(longest(38, 46), Some(limit(1, None)));
        assert_eq!(longest(44, 46), Some(tidying));
        assert_eq!(books.waits.longest(ClassId(4), at(0), at(46)), None);
    }

    #[test]
    fn a_class_that_waits_no_more_begins_anew() {
        let mut books = noted(&[(0, limit(0, None))]);
        books.note_waits(&Plan::default(), at(50));
        assert_eq!(books.waits.longest(CLASS, at(0), at(60)), None);
        assert!(books.waits.by_class.is_empty());
    }
}
