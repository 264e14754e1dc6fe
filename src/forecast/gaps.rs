//! How long machines stand idle until the next build that takes their place.
//!
//! Gaps are those of machines that are never ended: what an attempt frees is put on a pile, and the
//! next attempt takes the top of it, whether its machine still exists or not. That is the order in
//! which machines are taken (the most recently idled first), so the gaps are what each machine would
//! have seen, and ending machines early hides none of them. A build counts for the image that it ran
//! on, and from the moment it got its machine.

use std::collections::{BTreeMap, VecDeque};

use super::histogram::Histogram;
use super::idle::LONGEST_IDLE;
use super::week::{hour_of_kind, hour_of_week};
use crate::model::{Span, Timestamp};

/// Machines of one image that may be idle at once, as far as gaps are followed.
const MOST_FREE: usize = 4_096;

/// Samples from which on a distribution is trusted: with fewer, the worst case is a better guide.
const ENOUGH: u64 = 12;

/// Gaps by image and the hour of the week in which they began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    images: BTreeMap<String, OfImage>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfImage {
    /// When places became free that nothing has taken since, ascending.
    free: VecDeque<Timestamp>,
    by_hour: BTreeMap<u16, Histogram>,
    /// By hour of the day, weekends apart.
    by_kind: BTreeMap<u16, Histogram>,
    all: Histogram,
}

impl Gaps {
    /// A place became free at `at`.
    pub fn freed(&mut self, image: &str, at: Timestamp) {
        let of_image = self.images.entry(image.to_owned()).or_default();
        of_image.give_up(at);
        let place = of_image.free.partition_point(|earlier| *earlier <= at);
        of_image.free.insert(place, at);
        if of_image.free.len() > MOST_FREE {
            of_image.free.pop_front();
        }
    }

    /// A build takes the place that became free last; since when that was free.
    pub fn taken(&mut self, image: &str, at: Timestamp) -> Option<Timestamp> {
        let of_image = self.images.get_mut(image)?;
        of_image.give_up(at);
        of_image.free.pop_back()
    }

    /// A gap that began at `began` is over.
    pub fn learn(&mut self, image: &str, began: Timestamp, gap: Span) {
        let of_image = self.images.entry(image.to_owned()).or_default();
        of_image.learn(began, gap);
    }

    /// The gaps that began in the same hour of the week as `at`; where too few are known, at the same
    /// time of day, then at any time. None when even those are too few.
    pub fn at(&self, image: &str, at: Timestamp) -> Option<&Histogram> {
        let of_image = self.images.get(image)?;
        let hour = hour_of_week(at);
        let of_hour = of_image.by_hour.get(&hour);
        let of_kind = of_image.by_kind.get(&hour_of_kind(hour));
        let all = Some(&of_image.all);
        [of_hour, of_kind, all]
            .into_iter()
            .flatten()
            .find(|histogram| histogram.samples() >= ENOUGH)
    }
}

impl OfImage {
    /// Gaps longer than any timeout need not be waited for: how long they really are makes no
    /// difference, and what nothing ever takes would else never be learnt.
    fn give_up(&mut self, now: Timestamp) {
        while let Some(began) = self.free.front().copied() {
            if now.since(began) <= LONGEST_IDLE {
                return;
            }
            self.free.pop_front();
            let longer = Span::from_micros(LONGEST_IDLE.micros() * 2);
            self.learn(began, longer);
        }
    }

    fn learn(&mut self, began: Timestamp, gap: Span) {
        let hour = hour_of_week(began);
        self.by_hour.entry(hour).or_default().add(gap, began);
        let kind = self.by_kind.entry(hour_of_kind(hour)).or_default();
        kind.add(gap, began);
        self.all.add(gap, began);
    }
}
