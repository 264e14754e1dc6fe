//! Sets of images as bits, and candidates that know theirs: whether a class has anything to do with
//! some machines is then a question of a few words, however many images there are.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::snapshot::{Candidate, ImageIndex};

/// A set of images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ImageSet {
    /// Bit `i % 64` of word `i / 64` is image `i`.
    words: Vec<u64>,
}

const fn bit(image: ImageIndex) -> u64 {
    1 << (image.0 % 64)
}

impl ImageSet {
    pub(super) fn insert(&mut self, image: ImageIndex) {
        let word = image.0 / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit(image);
        }
    }

    pub(super) fn remove(&mut self, image: ImageIndex) {
        if let Some(word) = self.words.get_mut(image.0 / 64) {
            *word &= !bit(image);
        }
    }

    pub(super) fn contains(&self, image: ImageIndex) -> bool {
        let word = self.words.get(image.0 / 64);
        word.is_some_and(|word| word & bit(image) != 0)
    }

    /// Whether both have an image that `without` has not.
    pub(super) fn meets(&self, other: &Self, without: &Self) -> bool {
        let without = without.words.iter().copied().chain(std::iter::repeat(0));
        let both = self.words.iter().zip(&other.words);
        both.zip(without)
            .any(|((one, other), without)| one & other & !without != 0)
    }

    /// Whether every image of it is in `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let other = other.words.iter().copied().chain(std::iter::repeat(0));
        let mut words = self.words.iter().zip(other);
        words.all(|(word, other)| word & !other == 0)
    }
}

impl FromIterator<ImageIndex> for ImageSet {
    fn from_iter<T: IntoIterator<Item = ImageIndex>>(images: T) -> Self {
        let mut set = Self::default();
        for image in images {
            set.insert(image);
        }
        set
    }
}

/// Images that can build a class, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Candidate>", into = "Vec<Candidate>")]
pub struct Candidates {
    list: Vec<Candidate>,
    images: ImageSet,
}

impl Candidates {
    pub(super) const fn images(&self) -> &ImageSet {
        &self.images
    }
}

impl From<Vec<Candidate>> for Candidates {
    fn from(list: Vec<Candidate>) -> Self {
        let images = list.iter().map(|candidate| candidate.image).collect();
        Self { list, images }
    }
}

impl From<Candidates> for Vec<Candidate> {
    fn from(candidates: Candidates) -> Self {
        candidates.list
    }
}

impl Deref for Candidates {
    type Target = [Candidate];

    fn deref(&self) -> &[Candidate] {
        &self.list
    }
}

impl<'a> IntoIterator for &'a Candidates {
    type Item = &'a Candidate;
    type IntoIter = std::slice::Iter<'a, Candidate>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_a_set(
            one in proptest::collection::btree_set(0_usize..200, 0..20),
            other in proptest::collection::btree_set(0_usize..200, 0..20),
            without in proptest::collection::btree_set(0_usize..200, 0..20),
        ) {
            let set = |numbers: &BTreeSet<usize>| {
                numbers.iter().copied().map(ImageIndex).collect::<ImageSet>()
            };
            let meets = one.iter().any(|i| other.contains(i) && !without.contains(i));
            prop_assert_eq!(set(&one).meets(&set(&other), &set(&without)), meets);
            prop_assert_eq!(set(&one).is_within(&set(&other)), one.is_subset(&other));
            let mut left = set(&one);
            for image in &other {
                left.remove(ImageIndex(*image));
            }
            for image in 0..200 {
                let expected = one.contains(&image) && !other.contains(&image);
                prop_assert_eq!(left.contains(ImageIndex(image)), expected);
            }
        }
    }
}
