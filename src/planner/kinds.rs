//! What builds of one kind have found without a place for them in this pass.
//!
//! While a pass goes on, machines without a build only become fewer, and what limits and budgets
//! leave only shrinks. So an image that has no place for one build has none for the next of its
//! kind, and is asked once, however many classes of the kind there are: a long queue that waits
//! costs a look at each class, not at each of its candidates.

use std::collections::BTreeMap;

use crate::model::{PipelineId, Reuse, Span};

use super::image_set::ImageSet;
use super::limits::Rule;
use super::plan::Blocked;
use super::snapshot::{Class, ImageIndex, ProjectIndex};

/// All that steps look at of a class but its candidates.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Traits<'a> {
    project: ProjectIndex,
    fresh: bool,
    on_demand: bool,
    timeout: Span,
    pipeline: Option<PipelineId>,
    rules: &'a [Rule],
    reuse: &'a BTreeMap<ImageIndex, Reuse>,
}

/// The kinds of builds that a pass has met.
#[derive(Debug, Default)]
pub(super) struct Kinds<'a> {
    places: BTreeMap<Traits<'a>, usize>,
    kinds: Vec<Kind>,
}

impl<'a> Kinds<'a> {
    /// The place of a class's kind.
    pub(super) fn place_of(&mut self, class: &'a Class) -> usize {
        let traits = Traits {
            project: class.project,
            fresh: class.fresh,
            on_demand: class.on_demand,
            timeout: class.timeout,
            pipeline: class.pipeline,
            rules: &class.rules,
            reuse: &class.reuse,
        };
        let kinds = &mut self.kinds;
        *self.places.entry(traits).or_insert_with(|| {
            kinds.push(Kind::default());
            kinds.len() - 1
        })
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Kind> {
        self.kinds.get_mut(place)
    }
}

/// What a kind of builds has found, step by step.
#[derive(Debug, Default)]
pub(super) struct Kind {
    pub(super) idle: Shut,
    pub(super) coming: Shut,
    pub(super) asleep: Shut,
    pub(super) launch: Shut,
}

/// Images of which nothing will do in one step.
#[derive(Debug, Default)]
pub(super) struct Shut {
    images: ImageSet,
    /// By image: one more than the place of its reason; 0 for none.
    places: Vec<usize>,
    whys: Vec<Blocked>,
}

impl Shut {
    pub(super) fn shut(&mut self, image: ImageIndex, why: Option<Blocked>) {
        self.images.insert(image);
        let Some(why) = why else {
            return;
        };
        // Most images have the reason of the one before: a limit on all of them.
        if self.whys.last() != Some(&why) {
            self.whys.push(why);
        }
        if self.places.len() <= image.0 {
            self.places.resize(image.0 + 1, 0);
        }
        if let Some(place) = self.places.get_mut(image.0) {
            *place = self.whys.len();
        }
    }

    pub(super) const fn images(&self) -> &ImageSet {
        &self.images
    }

    pub(super) fn is_shut(&self, image: ImageIndex) -> bool {
        self.images.contains(image)
    }

    /// What is in the way of a shut image, if that can be told.
    pub(super) fn why(&self, image: ImageIndex) -> Option<&Blocked> {
        let place = self.places.get(image.0)?.checked_sub(1)?;
        self.whys.get(place)
    }

    /// Whether nothing can be told of any of them.
    pub(super) const fn is_silent(&self) -> bool {
        self.whys.is_empty()
    }
}
