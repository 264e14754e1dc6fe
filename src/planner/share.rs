//! Fairness: whose build is placed next when builds of several projects and priorities wait.
//!
//! Start-time fair queueing (Goyal, Vin & Cheng 1996). Builds of one project and priority are a flow;
//! its weight is the project's, doubled for each step of priority. Each flow has a tag, which moves on
//! by one over its weight with each build that gets a machine; the flow with the least tag is next. So
//! a flow of twice the weight gets twice the machines, a higher priority goes first nearly always, and
//! nothing starves: the k-th build of a flow waits for at most k times (sum of weights / its weight)
//! placements of others that want the same machines, and one for each of those flows. Within a flow
//! the older goes first.
//!
//! A flow whose builds find no machine for reasons of their own while others go on keeps the credit of
//! one build of weight 1 and priority 0, not of all that time. Tags are kept in memory: a restart begins anew with equal tags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::snapshot::ProjectIndex;

/// Priorities beyond count as this much: a weight of a thousand is as good as strictly first, and the
/// last must still get its turn.
pub const MOST_PRIORITY: i32 = 10;

/// What a build of weight 1 moves its flow on by, at the least priority; divisible by what matters.
const UNIT: u128 = 1 << 60;

/// What a flow keeps of the time in which its builds found no machine: that of one build of weight 1
/// and priority 0. It is the same for all: one build of its own would be most for those whose turn
/// comes least often, and they would go first whenever several have waited for long.
const CREDIT: u128 = UNIT >> MOST_PRIORITY;

/// Builds of one project and priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Flow {
    /// The project.
    pub project: ProjectIndex,
    /// The priority.
    pub priority: i32,
}

/// Where the flows stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// The tag of the last build that was placed.
    now: u128,
    flows: BTreeMap<Flow, Standing>,
}

/// Where a flow stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    /// Its tag.
    tag: u128,
    /// Its queued builds.
    queued: usize,
}

/// A text that names no flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no flow")]
pub struct NoFlow(String);

/// Flows are keys of maps, and keys are texts where snapshots are written down.
impl From<Flow> for String {
    fn from(flow: Flow) -> Self {
        format!("{}:{}", flow.project.0, flow.priority)
    }
}

impl TryFrom<String> for Flow {
    type Error = NoFlow;

    fn try_from(text: String) -> Result<Self, NoFlow> {
        let parts = text.split_once(':');
        let flow = parts.and_then(|(project, priority)| {
            Some(Self {
                project: ProjectIndex(project.parse().ok()?),
                priority: priority.parse().ok()?,
            })
        });
        flow.ok_or(NoFlow(text))
    }
}

impl Flow {
    /// What one build moves the flow on by.
    fn step(self, weight: u32) -> u128 {
        let priority = self.priority.clamp(-MOST_PRIORITY, MOST_PRIORITY) + MOST_PRIORITY;
        (UNIT >> priority) / u128::from(weight.max(1))
    }
}

impl Shares {
    /// The tag of a flow with queued builds.
    pub fn tag(&self, flow: Flow) -> u128 {
        self.flows.get(&flow).map_or(self.now, |found| found.tag)
    }

    /// One more build of a flow is queued. A flow that begins to wait starts at the present tag.
    pub fn enter(&mut self, flow: Flow) {
        let now = self.now;
        let found = self.flows.entry(flow).or_default();
        if found.queued == 0 {
            found.tag = found.tag.max(now);
        }
        found.queued += 1;
    }

    /// A build of a flow is no longer queued.
    pub fn leave(&mut self, flow: Flow) {
        if let Some(found) = self.flows.get_mut(&flow) {
            found.queued = found.queued.saturating_sub(1);
        }
        // One that is over and owes nothing is as good as new.
        let now = self.now;
        self.flows
            .retain(|_, found| found.queued > 0 || found.tag > now);
    }

    /// A build of a flow got a machine.
    pub fn charge(&mut self, flow: Flow, weight: u32) {
        let tag = self.tag(flow);
        let has_moved = tag > self.now;
        self.now = self.now.max(tag);
        self.flows.entry(flow).or_default().tag = tag + flow.step(weight);
        if has_moved {
            self.catch_up();
        }
    }

    /// Flows that have fallen back, since their builds found no machine while others went on, keep the
    /// credit and no more. They move on together: who of them has had more turns stays behind the
    /// others, or the highest priority among them would go first for ever.
    fn catch_up(&mut self) {
        let now = self.now;
        let waiting = || self.flows.values().filter(|found| found.queued > 0);
        let last = waiting().map(|found| found.tag).min();
        let Some(behind) = last.and_then(|last| now.checked_sub(CREDIT)?.checked_sub(last)) else {
            return;
        };
        let fallen = self.flows.values_mut().filter(|found| found.tag < now);
        for found in fallen {
            found.tag = now.min(found.tag + behind);
        }
    }
}
