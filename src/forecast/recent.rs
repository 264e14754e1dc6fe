//! The last few samples of each of many things.

use std::collections::{BTreeMap, VecDeque};

use super::MEMORY;
use crate::model::{Span, Timestamp};

/// Samples kept of one thing: enough for a median, few enough to follow a change.
const SAMPLES: usize = 32;
/// Things of which samples are kept; beyond, the one that was silent for longest is forgotten.
const THINGS: usize = 8_192;

/// The last lengths of time of each thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recent<K> {
    samples: BTreeMap<K, VecDeque<(Timestamp, Span)>>,
}

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self {
            samples: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Recent<K> {
    pub(super) fn add(&mut self, key: &K, span: Span, at: Timestamp) {
        if !self.samples.contains_key(key) && self.samples.len() >= THINGS {
            self.forget_one();
        }
        let samples = self.samples.entry(key.clone()).or_default();
        samples.push_back((at, span));
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// The value that `percent` of the samples do not exceed, and how many samples there are.
    pub(super) fn quantile(
        &self,
        key: &K,
        percent: usize,
        now: Timestamp,
    ) -> Option<(Span, usize)> {
        let of_key = self.samples.get(key)?.iter();
        let remembered = of_key.filter(|(at, _)| *at + MEMORY >= now);
        let mut spans: Vec<Span> = remembered.map(|(_, span)| *span).collect();
        spans.sort_unstable();
        let place = (spans.len() * percent).div_ceil(100).max(1) - 1;
        Some((*spans.get(place)?, spans.len()))
    }

    fn forget_one(&mut self) {
        let last = |samples: &VecDeque<(Timestamp, Span)>| samples.back().map(|(at, _)| *at);
        let oldest = self.samples.iter().min_by_key(|(_, samples)| last(samples));
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.samples.remove(&key);
        }
    }
}
