//! Pools with a floor of idle machines: GitLab Runner's autoscaler, and Jenkins' EC2 plugin.
//!
//! GitLab (<https://docs.gitlab.com/runner/configuration/advanced-configuration/>, section
//! `[[runners.autoscaler.policy]]`): `idle_count` is the idle capacity to be at hand; an instance that
//! has been idle for longer than `idle_time`, counted from its last job or its provisioning, is
//! removed "unless necessary to maintain the required `idle_count`"; `scale_factor` defaults to 0.
//! Without preemptive mode jobs are taken first and capacity is found then.
//!
//! Jenkins (<https://plugins.jenkins.io/ec2/>): "Minimum number of spare instances" are kept idle,
//! "Idle termination time" is 30 minutes. Its load balancer prefers an agent per job by consistent
//! hashing (`hudson.model.LoadBalancer.CONSISTENT_HASH`).

use std::collections::BTreeSet;

use super::yard::Yard;
use crate::model::{BuildId, MachineId, Span, Timestamp};
use crate::planner::{ClassId, ImageIndex, Plan, Snapshot};
use crate::simulate::run::Decide;

/// Which idle machine takes a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dispatch {
    /// The one that has been idle for the shortest time.
    Latest,
    /// The one that a hash of the job prefers.
    Hash,
}

/// A pool per image.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    /// Images that have one: those that the history asks for.
    pub(super) images: BTreeSet<String>,
    /// Idle machines to be at hand, per image.
    pub(super) spares: usize,
    /// How long machines beyond those may be idle.
    pub(super) idle_time: Span,
    /// Which machine takes a build.
    pub(super) dispatch: Dispatch,
    /// Until when spares are kept.
    pub(super) until: Timestamp,
}

impl Pool {
    /// Gives a build to a machine of an image that is there; false when there is none.
    fn assign(
        &self,
        yard: &mut Yard<'_>,
        image: ImageIndex,
        (build, class): (BuildId, ClassId),
    ) -> bool {
        let idle = yard.idle.get(&image).into_iter().flatten();
        let preferred = match self.dispatch {
            Dispatch::Latest => idle.max().map(|(_, id)| *id),
            Dispatch::Hash => idle
                .map(|(_, id)| *id)
                .min_by_key(|id| affinity(class, *id)),
        };
        let coming = yard.coming.get(&image);
        let coming = coming.and_then(|coming| coming.first().copied());
        let Some(machine) = preferred.or(coming) else {
            return false;
        };
        yard.bind(build, image, machine);
        true
    }

    fn keep_spares(&self, yard: &mut Yard<'_>, image: ImageIndex) {
        let idle = yard.idle.get(&image).map_or(0, BTreeSet::len);
        let coming = yard.coming.get(&image).map_or(0, BTreeSet::len);
        for _ in idle + coming..self.spares {
            if !yard.launch(image, None) {
                return;
            }
        }
    }
}

/// How much a job prefers a machine: any fixed mixing will do (this one is `splitmix64`).
fn affinity(class: ClassId, machine: MachineId) -> u64 {
    let bits = machine.bits();
    let folded = u64::try_from((bits >> 64) ^ (bits & u128::from(u64::MAX))).unwrap_or(0);
    let mut mixed = folded ^ u64::from(class.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Decide for Pool {
    fn decide(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
        fresh: &mut dyn FnMut() -> u128,
    ) -> Plan {
        let mut yard = Yard::new(snapshot, now, fresh);
        for (key, class) in yard.queue() {
            let images = yard.images(class);
            let is_there = images
                .iter()
                .any(|image| self.assign(&mut yard, *image, (key.build, class)));
            if !is_there {
                let _ = images
                    .into_iter()
                    .any(|image| yard.launch(image, Some(key.build)));
            }
        }
        let is_open = now < self.until;
        for image in yard.all_images() {
            let name = snapshot.image(image).map_or("", |view| &view.name);
            let is_kept = is_open && self.images.contains(name);
            let floor = if is_kept { self.spares } else { 0 };
            yard.expire(image, self.idle_time, floor);
            if is_kept {
                self.keep_spares(&mut yard, image);
            }
        }
        if is_open && self.spares > 0 {
            yard.wake(self.until);
        }
        yard.finish()
    }
}
