//! Sets of places in a catalogue.

/// A set of places below some length, the same for all sets that meet.
#[derive(Debug, Clone)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// No place.
    pub(super) fn none(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    /// The places `0..len`.
    pub(super) fn all(len: usize) -> Self {
        let mut words = vec![u64::MAX; len.div_ceil(64)];
        if let Some(last) = words.last_mut() {
            *last >>= (64 - len % 64) % 64;
        }
        Self(words)
    }

    pub(super) fn has(&self, place: usize) -> bool {
        let word = self.0.get(place / 64).copied().unwrap_or(0);
        word >> (place % 64) & 1 == 1
    }

    pub(super) fn add(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    pub(super) fn keep(&mut self, other: &Self) {
        self.combine(other, |word, other| word & other);
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        self.combine(other, |word, other| word | other);
    }

    pub(super) fn drop_all(&mut self, other: &Self) {
        self.combine(other, |word, other| word & !other);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word = with(*word, *other);
        }
    }

    /// The first place from `place` on.
    pub(super) fn first_from(&self, place: usize) -> Option<usize> {
        let mut mask = u64::MAX << (place % 64);
        for (index, word) in self.0.iter().enumerate().skip(place / 64) {
            let rest = word & mask;
            if rest != 0 {
                return Some(index * 64 + rest.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn places(bits: &Bits) -> BTreeSet<usize> {
        let mut places = BTreeSet::new();
        while let Some(place) = bits.first_from(places.last().map_or(0, |last| last + 1)) {
            places.insert(place);
        }
        places
    }

    fn bits(len: usize, places: &BTreeSet<usize>) -> Bits {
        let mut bits = Bits::none(len);
        for place in places {
            bits.add(*place);
        }
        bits
    }

    proptest! {
        #[test]
        fn bits_are_sets(
            len in 0..200_usize,
            left in prop::collection::btree_set(0..200_usize, 0..40),
            right in prop::collection::btree_set(0..200_usize, 0..40),
        ) {
            let within = |set: &BTreeSet<usize>| set.range(..len).copied().collect::<BTreeSet<_>>();
            let (left, right) = (within(&left), within(&right));
            prop_assert_eq!(places(&Bits::all(len)), (0..len).collect::<BTreeSet<_>>());
            let changed = |change: fn(&mut Bits, &Bits)| {
                let mut changed = bits(len, &left);
                change(&mut changed, &bits(len, &right));
                places(&changed)
            };
            prop_assert_eq!(changed(Bits::keep), &left & &right);
            prop_assert_eq!(changed(Bits::add_all), &left | &right);
            prop_assert_eq!(changed(Bits::drop_all), &left - &right);
            prop_assert!((0..len).all(|place| bits(len, &left).has(place) == left.contains(&place)));
        }
    }
}
