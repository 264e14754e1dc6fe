//! A pass with all that went into it, to be made again elsewhere: the planner is a pure function, so
//! the same snapshot, time and identities must give the same plan.

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

use super::audit::{Violation, audit};
use super::plan::{Plan, plan};
use super::snapshot::Snapshot;

/// What one pass saw and decided.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordedPass {
    /// The program's version that made it: another one may decide otherwise, and rightly so.
    pub version: String,
    /// The moment it was made for.
    pub at: Timestamp,
    /// What it saw.
    pub snapshot: Snapshot,
    /// The fresh identities that it took, in order, in hexadecimal.
    pub ids: Vec<String>,
    /// What it decided.
    pub plan: Plan,
}

/// A recorded pass, made again.
#[derive(Debug, Clone)]
pub struct Replay {
    /// What this program decides.
    pub plan: Plan,
    /// What is wrong with that.
    pub violations: Vec<Violation>,
    /// Where it differs from what was recorded; empty when it is the same.
    pub differences: Vec<String>,
}

impl RecordedPass {
    /// What `plan` was made from at `now`, with the identities that it took.
    pub fn new(snapshot: &Snapshot, now: Timestamp, ids: &[u128], plan: &Plan) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: now,
            snapshot: snapshot.clone(),
            ids: ids.iter().map(|id| format!("{id:032x}")).collect(),
            plan: plan.clone(),
        }
    }
}

/// Makes a recorded pass again. Identities beyond the recorded ones, which a planner that decides
/// otherwise may need, count up from the largest.
pub fn replay(pass: &RecordedPass) -> Replay {
    let known = pass.ids.iter();
    let known: Vec<u128> = known
        .filter_map(|id| u128::from_str_radix(id, 16).ok())
        .collect();
    let mut beyond = known.iter().copied().max().unwrap_or_default();
    let mut known = known.into_iter();
    let mut fresh = || {
        known.next().unwrap_or_else(|| {
            beyond += 1;
            beyond
        })
    };
    let plan = plan(&pass.snapshot, pass.at, &mut fresh);
    Replay {
        violations: audit(&pass.snapshot, &plan, pass.at),
        differences: differences(&pass.plan, &plan),
        plan,
    }
}

fn differences(recorded: &Plan, made: &Plan) -> Vec<String> {
    let mut found = Vec::new();
    list("action", &recorded.actions, &made.actions, &mut found);
    list("wait", &recorded.waiting, &made.waiting, &mut found);
    list("kept machine", &recorded.kept, &made.kept, &mut found);
    if recorded.wake_at != made.wake_at {
        let word = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
        found.push(format!(
            "thinks again at {}, was {}",
            word(made.wake_at),
            word(recorded.wake_at)
        ));
    }
    found
}

fn list<T: PartialEq + std::fmt::Debug>(
    what: &str,
    recorded: &[T],
    made: &[T],
    found: &mut Vec<String>,
) {
    for place in 0..recorded.len().max(made.len()) {
        match (recorded.get(place), made.get(place)) {
            (Some(was), Some(is)) if was == is => {}
            (Some(was), Some(is)) => {
                found.push(format!("{what} {}: is {is:?}, was {was:?}", place + 1));
            }
            (Some(was), None) => {
                found.push(format!("{what} {}: is missing, was {was:?}", place + 1));
            }
            (None, Some(is)) => found.push(format!("{what} {}: is {is:?}, was missing", place + 1)),
            (None, None) => {}
        }
    }
}
