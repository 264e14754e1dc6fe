//! Buildbot's latent workers.
//!
//! "The `build_wait_timeout` allows you to specify how long an `AbstractLatentWorker` should wait after
//! a build for another build before it shuts down the instance. It defaults to 10 minutes."
//! (<https://docs.buildbot.net/latest/manual/configuration/workers.html>). A worker is one machine that
//! comes and goes; builders choose among their free workers at random unless `nextWorker` says
//! otherwise (`master/buildbot/process/buildrequestdistributor.py`), whether it runs or not.

use std::collections::{BTreeMap, BTreeSet};

use super::yard::Yard;
use crate::model::{BuildId, Span, Timestamp};
use crate::planner::{ImageIndex, Plan, Snapshot};
use crate::simulate::dice::Dice;
use crate::simulate::run::Decide;

/// The default of Buildbot.
const BUILD_WAIT_TIMEOUT: Span = Span::from_secs(600);

/// A stream of draws that nothing else uses.
const STREAM: u64 = 0x6c61_7465_6e74;

/// Latent workers.
#[derive(Debug)]
pub(super) struct Latent {
    /// By image name.
    workers: BTreeMap<String, usize>,
    dice: Dice,
}

impl Latent {
    pub(super) fn new(workers: BTreeMap<String, usize>, seed: u64) -> Self {
        Self {
            workers,
            dice: Dice::new(seed, STREAM),
        }
    }

    /// Gives a build to a free worker of an image; false when there is none.
    fn assign(&mut self, yard: &mut Yard<'_>, image: ImageIndex, build: BuildId) -> bool {
        let name = yard.snapshot.image(image).map_or("", |view| &view.name);
        let workers = self.workers.get(name).copied().unwrap_or(1);
        let alive = yard.alive.get(&image).copied().unwrap_or(0);
        let idle = yard.idle.get(&image);
        let running = idle.map_or(0, BTreeSet::len);
        let free = running + workers.saturating_sub(alive);
        if free == 0 {
            return false;
        }
        let chosen = self.dice.place(free);
        let machine = idle
            .and_then(|idle| idle.iter().nth(chosen))
            .map(|(_, id)| *id);
        match machine {
            Some(machine) => {
                yard.bind(build, image, machine);
                true
            }
            None => yard.launch(image, Some(build)),
        }
    }
}

impl Decide for Latent {
    fn decide(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
        fresh: &mut dyn FnMut() -> u128,
    ) -> Plan {
        let mut yard = Yard::new(snapshot, now, fresh);
        for (key, class) in yard.queue() {
            let images = yard.images(class);
            // A build that finds no free worker stays queued until one is.
            let _ = images
                .into_iter()
                .any(|image| self.assign(&mut yard, image, key.build));
        }
        for image in yard.all_images() {
            yard.expire(image, BUILD_WAIT_TIMEOUT, 0);
        }
        yard.finish()
    }
}
