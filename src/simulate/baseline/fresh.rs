//! One machine per build: what GitHub's own runners, `--ephemeral` ones and many home-made
//! autoscalers do.

use super::yard::Yard;
use crate::model::{Span, Timestamp};
use crate::planner::{Plan, Snapshot};
use crate::simulate::run::Decide;

/// A machine per build.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fresh;

impl Decide for Fresh {
    fn decide(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
        fresh: &mut dyn FnMut() -> u128,
    ) -> Plan {
        let mut yard = Yard::new(snapshot, now, fresh);
        for (key, class) in yard.queue() {
            let images = yard.images(class);
            // The first that can be launched: a build that finds none stays queued.
            let _ = images
                .into_iter()
                .any(|image| yard.launch(image, Some(key.build)));
        }
        for image in yard.all_images() {
            yard.expire(image, Span::ZERO, 0);
        }
        yard.finish()
    }
}
