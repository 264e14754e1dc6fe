//! What queued builds waited for when the planner looked last, so that a build that gets a machine
//! can say what kept it from one. Kept in memory: after a restart it is not known of the first pass.

use std::collections::BTreeMap;

use crate::model::{BuildId, BuildState, Timestamp};
use crate::planner::{self, Blocked, ClassId, Plan};

use super::books::Books;

/// What queued builds waited for at the last pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits {
    at: Timestamp,
    by_class: BTreeMap<ClassId, Blocked>,
}

impl Books {
    /// Notes what a pass says of builds that stay queued.
    pub(crate) fn note_waits(&mut self, plan: &Plan, now: Timestamp) {
        self.waits.at = now;
        self.waits.by_class.clear();
        for waiting in &plan.waiting {
            // Of several reasons of a class the first is that of its oldest build.
            let of_class = self.waits.by_class.entry(waiting.class);
            of_class.or_insert_with(|| waiting.why.clone());
        }
    }

    /// What a queued build waited for at the last pass, as a clause; none if it was not there yet.
    pub(super) fn waited_for(&self, build: BuildId) -> Option<String> {
        let BuildState::Queued { since, .. } = self.builds.get(&build)?.state else {
            return None;
        };
        let class = self.snapshot.queued.get(&build)?.class;
        let why = self.waits.by_class.get(&class)?;
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
