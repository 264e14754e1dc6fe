//! When which bytes arrived: marks beside the bytes, thinned so that they stay few.

use crate::model::{LineMark, Timestamp};

/// Chunks that arrive this close together share a mark: nobody reads a log to the hundredth of a
/// second, and a fast log would have thousands of marks a second.
const GAP_MICROS: u64 = 10_000;

/// Most marks kept at once, hence (plus one at its start) most marks of an extent. A flush is due
/// after a second, so a hundred is what a chatty log collects; a store row stays at a few kilobytes.
const MOST_MARKS: usize = 128;

/// The marks of a tail.
#[derive(Debug)]
pub(super) struct Marks {
    /// Ascending by offset.
    kept: Vec<LineMark>,
    /// Doubles whenever there are too many.
    gap_micros: u64,
}

impl Marks {
    pub(super) const fn new() -> Self {
        Self {
            kept: Vec::new(),
            gap_micros: GAP_MICROS,
        }
    }

    /// Notes that the bytes from `offset` on arrive `at`.
    pub(super) fn note(&mut self, offset: u64, at: Timestamp) {
        if let Some(last) = self.kept.last()
            && at.micros().abs_diff(last.at.micros()) < self.gap_micros
        {
            return;
        }
        if self.kept.len() >= MOST_MARKS {
            self.thin();
        }
        self.kept.push(LineMark { offset, at });
    }

    /// Drops every other mark, and asks for twice the distance from now on.
    fn thin(&mut self) {
        let mut keep = false;
        self.kept.retain(|_| {
            keep = !keep;
            keep
        });
        self.gap_micros = self.gap_micros.saturating_mul(2);
    }

    /// The marks, ascending by offset.
    pub(super) fn as_slice(&self) -> &[LineMark] {
        &self.kept
    }

    /// The marks for the bytes from `start` on; the first is at `start`.
    pub(super) fn from(&self, start: u64) -> Vec<LineMark> {
        let (covering, later) = split(&self.kept, start);
        covering
            .map(|mark| LineMark {
                offset: start,
                at: mark.at,
            })
            .into_iter()
            .chain(later.iter().copied())
            .collect()
    }

    /// Forgets about the bytes before `start`; when these are all bytes there are, about all.
    pub(super) fn release(&mut self, start: u64, end: u64) {
        if start >= end {
            // A new vector: an idle recorder holds nothing.
            *self = Self::new();
        } else {
            self.kept = self.from(start);
        }
    }
}

/// When the byte at `offset` arrived, and up to which offset that holds. `None` when no mark covers
/// it.
pub(super) fn arrival(marks: &[LineMark], offset: u64) -> Option<(Timestamp, u64)> {
    let (covering, later) = split(marks, offset);
    covering.map(|mark| (mark.at, later.first().map_or(u64::MAX, |next| next.offset)))
}

/// The mark that covers `offset`, and the marks behind it.
fn split(marks: &[LineMark], offset: u64) -> (Option<&LineMark>, &[LineMark]) {
    let behind = marks.partition_point(|mark| mark.offset <= offset);
    let (before, later) = marks.split_at(behind);
    (before.last(), later)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn pairs(marks: &[LineMark]) -> Vec<(u64, i64)> {
        marks
            .iter()
            .map(|mark| (mark.offset, mark.at.micros()))
            .collect()
    }

    #[test]
    fn chunks_close_together_share_a_mark() {
        let mut marks = Marks::new();
        for (offset, micros) in [(0, 0), (5, 9_999), (9, 10_000), (12, 19_999)] {
            marks.note(offset, at(micros));
        }
        assert_eq!(pairs(marks.as_slice()), [(0, 0), (9, 10_000)]);
    }

    #[test]
    fn a_clock_that_steps_back_still_marks() {
        let mut marks = Marks::new();
        for (offset, micros) in [(0, 1_000_000), (5, 0), (9, 20_000)] {
            marks.note(offset, at(micros));
        }
        assert_eq!(
            pairs(marks.as_slice()),
            [(0, 1_000_000), (5, 0), (9, 20_000)]
        );
    }

    #[test]
    fn marks_stay_few_and_keep_the_first() {
        let mut marks = Marks::new();
        for number in 0..100_000_u32 {
            marks.note(u64::from(number), at(i64::from(number) * 10_000));
        }
        assert!(marks.as_slice().len() <= MOST_MARKS);
        assert_eq!(pairs(marks.as_slice())[0], (0, 0));
        let (time, until) = arrival(marks.as_slice(), 50_000).unwrap();
        assert!(time <= at(500_000_000) && until > 50_000);
    }

    #[test]
    fn a_cut_between_marks_begins_with_the_time_that_held_there() {
        let mut marks = Marks::new();
        marks.note(0, at(0));
        marks.note(10, at(50_000));
        marks.note(20, at(90_000));
        assert_eq!(pairs(&marks.from(15)), [(15, 50_000), (20, 90_000)]);
        assert_eq!(pairs(&marks.from(20)), [(20, 90_000)]);
        marks.release(15, 30);
        assert_eq!(pairs(marks.as_slice()), [(15, 50_000), (20, 90_000)]);
        marks.release(30, 30);
        assert_eq!(pairs(marks.as_slice()), []);
    }
}
