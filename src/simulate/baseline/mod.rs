//! Models of what people run today, as other ways to decide in the same simulation: same history, same
//! cloud, same prices, same account.
//!
//! Each keeps to what its documentation says and to the defaults that it ships; where there is none,
//! the choice is stated in [`Baseline::about`]. All of them buy at the list price, run one build per
//! machine at a time, know no limits, and lose no time of their own: schedulers' polling intervals,
//! which add seconds in real life, are left out in their favour.

mod fresh;
mod latent;
mod pool;
mod yard;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ImageSpec, Span, Timestamp};

use super::Work;
use super::catalogue::candidates;
use super::run::Decide;

use fresh::Fresh;
use latent::Latent;
use pool::{Dispatch, Pool};

#[cfg(test)]
mod tests;

/// A model of another scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Buildbot's latent workers.
    Latent,
    /// One machine per build.
    Fresh,
    /// GitLab's instance executor with one idle machine.
    Fleeting,
    /// The same with as many idle machines as the documentation's examples have.
    FleetingFive,
    /// Jenkins with its EC2 plugin.
    Jenkins,
}

impl Baseline {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Latent,
        Self::Fresh,
        Self::Fleeting,
        Self::FleetingFive,
        Self::Jenkins,
    ];

    /// Short, unique.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latent => "latent workers",
            Self::Fresh => "machine per build",
            Self::Fleeting => "fleeting, 1 idle",
            Self::FleetingFive => "fleeting, 5 idle",
            Self::Jenkins => "jenkins ec2",
        }
    }

    /// What it does, with its parameters.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Latent => {
                "Buildbot's latent workers: a fixed set per image, as large as the history ever needs \
                 at once, a worker chosen at random among those without a build (the default), ended \
                 build_wait_timeout = 600 s (the default) after its last build"
            }
            Self::Fresh => "each build gets a machine of its own, which ends with it",
            Self::Fleeting => {
                "GitLab Runner's autoscaler, one runner per image: idle_count = 1 (it has no default), \
                 idle_time = 20m (as in the documentation's examples), scale_factor = 0 (the default), \
                 the most recently used machine first"
            }
            Self::FleetingFive => {
                "the same with idle_count = 5, as in the documentation's examples"
            }
            Self::Jenkins => {
                "Jenkins with its EC2 plugin, one template per image: a minimum of 1 spare instance, \
                 idle termination time 30 min (the default), a job goes to the agent that its hash \
                 prefers"
            }
        }
    }

    /// The scheduler, for this catalogue and history.
    pub fn decide(
        self,
        images: &[(String, ImageSpec)],
        work: &[Work],
        seed: u64,
    ) -> Box<dyn Decide> {
        let minutes = |minutes: u64| Span::from_secs(60 * minutes);
        // Floors hold as long as builds come: nobody would pay for them behind the history's end.
        let until = work.last().map_or(Timestamp::default(), |work| work.submit);
        let workers = workers(images, work);
        let asked: BTreeSet<String> = workers.keys().cloned().collect();
        let pool = |spares, idle_time, dispatch| {
            Box::new(Pool {
                images: asked.clone(),
                spares,
                idle_time,
                dispatch,
                until,
            })
        };
        match self {
            Self::Latent => Box::new(Latent::new(workers, seed)),
            Self::Fresh => Box::new(Fresh),
            Self::Fleeting => pool(1, minutes(20), Dispatch::Latest),
            Self::FleetingFive => pool(5, minutes(20), Dispatch::Latest),
            Self::Jenkins => pool(1, minutes(30), Dispatch::Hash),
        }
    }
}

/// By image, the most builds that would run at once if each began when it was submitted.
fn workers(images: &[(String, ImageSpec)], work: &[Work]) -> BTreeMap<String, usize> {
    let mut steps: BTreeMap<usize, Vec<(Timestamp, i64)>> = BTreeMap::new();
    for (work, candidates) in work.iter().zip(candidates(images, work)) {
        if let Some(image) = candidates.first() {
            let steps = steps.entry(*image).or_default();
            steps.extend([(work.submit, 1), (work.submit + work.run, -1)]);
        }
    }
    let most = |mut steps: Vec<(Timestamp, i64)>| {
        steps.sort_unstable();
        let running = steps.iter().scan(0, |running, (_, step)| {
            *running += step;
            Some(*running)
        });
        usize::try_from(running.max().unwrap_or(0)).unwrap_or(0)
    };
    let named = steps.into_iter().filter_map(|(image, steps)| {
        let (name, _) = images.get(image)?;
        Some((name.clone(), most(steps)))
    });
    named.collect()
}
