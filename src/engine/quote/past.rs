//! What is known of builds like these: how long they ran, and how many tries were lost to machines
//! that failed under them.

use std::collections::BTreeMap;

use crate::forecast::MEMORY;
use crate::model::{AttemptState, Build, Outcome, Span, Timestamp};
use crate::planner::{Retries, Spread};
use crate::store::{Page, PastAttempt, StoreError};

use super::super::engine::Engine;
use super::Quoting;

/// Percent of the past that a range begins with, is about as often under as over, and ends with.
pub(super) const PERCENTS: [usize; 3] = [10, 50, 95];

/// Login, the upload of the script and the fetching of its end, for which a machine is paid for around
/// a build and which its measured time does not have: seconds at most.
const HANDLING_SECS: u64 = 3;

/// Tries that are looked at, the newest: a share of them is known to the percent.
const MOST_TRIES: u32 = 2_000;

/// Tries of a build's name, else of its project, else of all, that a share is taken of: of fewer, one
/// that failed by chance would be a tenth and more.
const LEAST_TRIES: u32 = 10;

/// What is known of how long a build runs.
pub(super) struct Length {
    pub(super) run: Spread<Span>,
    /// Tries like its own, if enough of them are known.
    pub(super) retries: Retries,
    pub(super) basis: String,
}

/// Tries of the past, by what they were of.
#[derive(Debug, Default)]
pub(super) struct Past {
    by_name: BTreeMap<(String, String), Retries>,
    by_project: BTreeMap<String, Retries>,
    all: Retries,
}

impl Past {
    fn of(attempts: &[PastAttempt], since: Timestamp) -> Self {
        let mut past = Self::default();
        for attempt in attempts {
            let Some((took, has_failed)) = ended(attempt, since) else {
                continue;
            };
            let name = (attempt.project.clone(), attempt.build.clone());
            let project = attempt.project.clone();
            for retries in [
                past.by_name.entry(name).or_default(),
                past.by_project.entry(project).or_default(),
                &mut past.all,
            ] {
                note(retries, took, has_failed);
            }
        }
        past
    }

    /// The tries that say most about a build, if they are enough to say anything.
    fn like(&self, build: &Build) -> Retries {
        let name = (build.spec.project.clone(), build.spec.name.clone());
        let known = [
            self.by_name.get(&name),
            self.by_project.get(&build.spec.project),
            Some(&self.all),
        ];
        let mut known = known.into_iter().flatten();
        let enough = known.find(|retries| retries.tries >= LEAST_TRIES);
        enough.copied().unwrap_or_default()
    }
}

/// How long a try had its machine, and whether that failed it; none for one that had none, is not
/// over, or is too long ago.
fn ended(past: &PastAttempt, since: Timestamp) -> Option<(Span, bool)> {
    let AttemptState::Finished { outcome, at } = &past.attempt.state else {
        return None;
    };
    let has_failed = match outcome {
        Outcome::Exited(_) | Outcome::TimedOut => false,
        Outcome::Infrastructure(_) | Outcome::Interrupted(_) => true,
        Outcome::Canceled | Outcome::NotLaunched(_) => return None,
    };
    let began = past.attempt.bound_at;
    (began >= since).then(|| (at.since(began), has_failed))
}

fn note(retries: &mut Retries, took: Span, has_failed: bool) {
    retries.tries += 1;
    if has_failed {
        retries.failed += 1;
        let lost = retries.lost.micros().saturating_add(took.micros());
        retries.lost = Span::from_micros(lost);
        retries.longest = retries.longest.max(took);
    }
}

impl Engine {
    /// Tries of the past weeks, the newest of them.
    pub(super) async fn past_tries(&self, now: Timestamp) -> Result<Past, StoreError> {
        let page = Page {
            before: None,
            limit: MOST_TRIES,
        };
        let attempts = self.parts.store.past_attempts(page).await?;
        Ok(Past::of(&attempts, now - MEMORY))
    }
}

impl Quoting<'_> {
    pub(super) fn length(&self, build: &Build) -> Length {
        let spec = &build.spec;
        let retries = self.past.like(build);
        let durations = &self.books.learning.forecast.durations;
        let name = (spec.project.as_str(), spec.name.as_str());
        let known = PERCENTS.map(|percent| durations.quantile(name, percent, self.now));
        let [Some((low, builds)), Some((likely, _)), Some((high, _))] = known else {
            let run = Spread {
                low: Span::ZERO,
                likely: spec.timeout,
                high: spec.timeout,
            };
            let basis = format!("no history: its timeout of {}", spec.timeout);
            return Length {
                run,
                basis: with_retries(basis, &retries),
                retries,
            };
        };
        let high = handled(high);
        let run = Spread {
            low: down(low).min(spec.timeout),
            likely: likely.min(spec.timeout),
            high: high.min(spec.timeout),
        };
        let basis = format!("{builds} build(s) before");
        Length {
            run,
            basis: with_retries(basis, &retries),
            retries,
        }
    }
}

/// `34 build(s) before; 3 of 37 tries failed for reasons of infrastructure`
fn with_retries(basis: String, retries: &Retries) -> String {
    match retries.failed {
        0 => basis,
        failed => format!(
            "{basis}; {failed} of {} tries failed for reasons of infrastructure",
            retries.tries
        ),
    }
}

/// Rounded down to seconds.
pub(super) const fn down(span: Span) -> Span {
    Span::from_secs(span.micros() / 1_000_000)
}

/// With what comes around a build or a boot, rounded up to seconds.
pub(super) const fn handled(span: Span) -> Span {
    Span::from_secs(span.micros().div_ceil(1_000_000) + HANDLING_SECS)
}
