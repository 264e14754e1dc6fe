//! How many builds arrive, by image and five minutes of the week.

use std::collections::BTreeMap;

use super::week::{
    SLOT_SECS, SLOTS_PER_HOUR, SLOTS_PER_WEEK, begin_of, hour_of_week, slot_of_week, week_of,
};
use crate::model::{Rate, Span, Timestamp};

/// Weeks that are looked back on, and the one under way.
const WEEKS: usize = 5;

/// Arrivals by image: builds that got a machine of it for the first time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrivals {
    images: BTreeMap<String, OfImage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct OfImage {
    /// When the first one was seen: what was before is not known, rather than none.
    since: Timestamp,
    /// Counts by slot of the week, for the weeks that share a place in the ring.
    slots: BTreeMap<u16, [u16; WEEKS]>,
    /// Which week each place of the ring is for.
    weeks: [i64; WEEKS],
}

impl Arrivals {
    /// A build arrived at `at`.
    pub fn learn(&mut self, image: &str, at: Timestamp) {
        let of_image = self.images.entry(image.to_owned());
        let of_image = of_image.or_insert_with(|| OfImage {
            since: at,
            slots: BTreeMap::new(),
            weeks: [i64::MIN; WEEKS],
        });
        of_image.since = of_image.since.min(at);
        let week = week_of(at);
        let place = place_of(week);
        if of_image.weeks.get(place) != Some(&week) {
            of_image.begin(week, place);
        }
        let counts = of_image.slots.entry(slot_of_week(at)).or_default();
        if let Some(count) = counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    /// Machines to have at hand in the hour of `at`: the smallest number that suffices in a share of
    /// `value / (value + price)` of the stretches as long as a boot that the same hour of past weeks
    /// had (the newsvendor's quantile). None before a week has been seen.
    ///
    /// Stretches are whole slots: builds come in bursts, so five minutes stand for a boot of one.
    pub fn wanted(
        &self,
        image: &str,
        at: Timestamp,
        boot: Span,
        (value_of_wait, price): (Rate, Rate),
    ) -> Option<u32> {
        let of_image = self.images.get(image)?;
        let mut counts = of_image.stretches(at, boot);
        if counts.is_empty() {
            return None;
        }
        counts.sort_unstable();
        let value = u128::from(value_of_wait.micros_per_hour());
        let both = value + u128::from(price.micros_per_hour());
        let total = u128::try_from(counts.len()).unwrap_or(u128::MAX);
        // What costs nothing to keep and nothing to miss is not kept.
        let enough = |place: usize| {
            let covered = u128::try_from(place + 1).unwrap_or(u128::MAX);
            covered * both >= value * total && both > 0
        };
        let place = (0..counts.len()).find(|place| enough(*place));
        // A share of nothing is reached before anything arrives.
        let wanted = place.filter(|_| value > 0).and_then(|p| counts.get(p));
        Some(wanted.copied().unwrap_or(0))
    }
}

impl OfImage {
    fn begin(&mut self, week: i64, place: usize) {
        if let Some(of_place) = self.weeks.get_mut(place) {
            *of_place = week;
        }
        for counts in self.slots.values_mut() {
            if let Some(count) = counts.get_mut(place) {
                *count = 0;
            }
        }
        self.slots.retain(|_, counts| *counts != [0; WEEKS]);
    }

    /// Arrivals in each stretch that began in the same hour of the weeks before.
    fn stretches(&self, at: Timestamp, boot: Span) -> Vec<u32> {
        let (now, hour) = (week_of(at), hour_of_week(at));
        let first = hour * SLOTS_PER_HOUR;
        let slots = boot.micros().div_ceil(SLOT_SECS.unsigned_abs() * 1_000_000);
        let slots = u16::try_from(slots)
            .unwrap_or(u16::MAX)
            .clamp(1, SLOTS_PER_HOUR);
        let mut found = Vec::new();
        let back = i64::try_from(WEEKS).unwrap_or(0) - 1;
        for week in (now - back..now).filter(|week| begin_of(*week, hour) >= self.since) {
            for slot in first..first + SLOTS_PER_HOUR {
                let of_slots = (slot..slot + slots).map(|slot| self.count(week, slot));
                found.push(of_slots.sum());
            }
        }
        found
    }

    fn count(&self, week: i64, slot: u16) -> u32 {
        let week = week + i64::from(slot / SLOTS_PER_WEEK);
        let place = place_of(week);
        if self.weeks.get(place) != Some(&week) {
            return 0;
        }
        let counts = self.slots.get(&(slot % SLOTS_PER_WEEK));
        let count = counts.and_then(|counts| counts.get(place));
        count.map_or(0, |count| u32::from(*count))
    }
}

fn place_of(week: i64) -> usize {
    let weeks = i64::try_from(WEEKS).unwrap_or(1);
    usize::try_from(week.rem_euclid(weeks)).unwrap_or(0)
}
