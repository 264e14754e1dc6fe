//! What a policy says to nobody: machines are bought, filled, worn out and kept at hand for an image,
//! whoever's builds they run, so a policy that asks whose builds they are cannot say how.

use std::fmt;

use crate::model::Policy;

use super::write::said;

/// Keys that hold for the machines of an image, whoever's builds they run.
const OF_MACHINES: [&str; 14] = [
    "market.buy",
    "idle.then",
    "idle.asleep.machines",
    "idle.asleep.timeout",
    "warm",
    "warm.windows",
    "warm.forecast",
    "warm.cost",
    "warm.max_age",
    "reuse.builds",
    "reuse.lifetime",
    "reuse.slots",
    "reuse.rest_at",
    "health.quarantine",
];

/// A policy that sets what nobody asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unheard {
    /// The policy.
    pub policy: String,
    /// The keys without effect, in the order of the documentation.
    pub keys: Vec<&'static str>,
}

/// The policies that set something without effect, in their order.
pub fn unheard(policies: &[Policy]) -> Vec<Unheard> {
    policies.iter().filter_map(unheard_of).collect()
}

fn unheard_of(policy: &Policy) -> Option<Unheard> {
    let spec = &policy.spec;
    let is_by_build =
        !spec.projects.is_empty() || !spec.labels.is_empty() || spec.priority.is_some();
    let said = said(spec).into_iter().filter(|_| is_by_build);
    let mut keys: Vec<&'static str> = said
        .map(|said| said.key)
        .filter(|key| OF_MACHINES.contains(key))
        .collect();
    keys.dedup();
    (!keys.is_empty()).then(|| Unheard {
        policy: policy.name.clone(),
        keys,
    })
}

/// One sentence for people, with what to change.
impl fmt::Display for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, policy) = (self.keys.join(", "), &self.policy);
        write!(
            f,
            "policy {policy} selects builds, and {keys} hold for all machines of an image whoever's \
             builds they run: they have no effect there; set them in a policy that selects no \
             projects, labels or priority"
        )
    }
}
