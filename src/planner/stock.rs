//! Machines by image, in the order in which they are taken.

use std::collections::{BTreeMap, BTreeSet};

use super::image_set::{Candidates, ImageSet};
use super::snapshot::ImageIndex;

/// Machines by image, and which images have any.
#[derive(Debug)]
pub(super) struct Stock<K> {
    by_image: BTreeMap<ImageIndex, BTreeSet<K>>,
    /// The images that have machines.
    images: ImageSet,
}

impl<K> Default for Stock<K> {
    fn default() -> Self {
        Self {
            by_image: BTreeMap::new(),
            images: ImageSet::default(),
        }
    }
}

impl<K: Ord> Stock<K> {
    pub(super) fn add(&mut self, image: ImageIndex, key: K) {
        self.images.insert(image);
        self.by_image.entry(image).or_default().insert(key);
    }

    pub(super) fn remove(&mut self, image: ImageIndex, key: &K) {
        let Some(keys) = self.by_image.get_mut(&image) else {
            return;
        };
        keys.remove(key);
        if keys.is_empty() {
            self.by_image.remove(&image);
            self.images.remove(image);
        }
    }

    /// Machines of an image, in order.
    pub(super) fn of(&self, image: ImageIndex) -> impl DoubleEndedIterator<Item = &K> {
        let is_there = self.images.contains(image);
        let keys = is_there.then(|| self.by_image.get(&image)).flatten();
        keys.into_iter().flatten()
    }

    pub(super) fn count(&self, image: ImageIndex) -> usize {
        self.by_image.get(&image).map_or(0, BTreeSet::len)
    }

    /// Whether any candidate has machines, those aside of whose images it is known that none will do.
    pub(super) fn meets(&self, candidates: &Candidates, none_of: &ImageSet) -> bool {
        self.images.meets(candidates.images(), none_of)
    }

    /// All images that have machines, with these in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ImageIndex, &BTreeSet<K>)> {
        self.by_image.iter().map(|(image, keys)| (*image, keys))
    }
}
