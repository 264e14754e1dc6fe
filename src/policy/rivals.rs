//! Policies that say different things of the same, with nothing but their names to decide.

use std::fmt;

use crate::model::{Policy, PolicySpec};

use super::select::{Specificity, is_like};
use super::terms::Knob;
use super::write::{KNOBS, Said, is_of, said};

/// Two policies that set the same knob to different things, for what both speak of, neither being
/// more specific.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rivals {
    /// The one that holds, for its name comes first.
    pub holds: String,
    /// The other.
    pub yields: String,
    /// What both say, and differently.
    pub knobs: Vec<Knob>,
}

/// One sentence for people.
impl fmt::Display for Rivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let knobs: Vec<&str> = self.knobs.iter().map(|knob| knob.0).collect();
        let (holds, yields, knobs) = (&self.holds, &self.yields, knobs.join(", "));
        write!(
            f,
            "policies {yields} and {holds} may speak of the same, as specifically, and say different \
             things of {knobs}; {holds} holds, for its name comes first"
        )
    }
}

/// All such pairs, by name.
pub fn rivals(policies: &[Policy]) -> Vec<Rivals> {
    let mut policies: Vec<&Policy> = policies.iter().collect();
    policies.sort_by_key(|policy| policy.name.as_str());
    let mut found = Vec::new();
    for (place, first) in policies.iter().enumerate() {
        for second in policies.iter().skip(place + 1) {
            if !Specificity::of(first).is_beside(&Specificity::of(second))
                || !may_meet(&first.spec, &second.spec)
            {
                continue;
            }
            let knobs = both_say(&first.spec, &second.spec);
            if !knobs.is_empty() {
                found.push(Rivals {
                    holds: first.name.clone(),
                    yields: second.name.clone(),
                    knobs,
                });
            }
        }
    }
    found
}

fn both_say(first: &PolicySpec, second: &PolicySpec) -> Vec<Knob> {
    let (first, second) = (said(first), said(second));
    KNOBS
        .into_iter()
        .filter(|knob| {
            let (one, other) = (of_knob(&first, knob), of_knob(&second, knob));
            !one.is_empty() && !other.is_empty() && one != other
        })
        .map(Knob)
        .collect()
}

fn of_knob<'a>(said: &'a [Said], knob: &str) -> Vec<&'a Said> {
    said.iter().filter(|said| is_of(said.key, knob)).collect()
}

/// Whether there may be a thing that both speak of. Two patterns are taken to have a name in common.
fn may_meet(first: &PolicySpec, second: &PolicySpec) -> bool {
    let labels = first.labels.iter().all(|(key, value)| {
        let other = second.labels.get(key);
        other.is_none_or(|other| patterns_meet(value, other))
    });
    let priority = match (first.priority, second.priority) {
        (Some((least, most)), Some((other_least, other_most))) => {
            least <= other_most && other_least <= most
        }
        (None, _) | (_, None) => true,
    };
    labels
        && priority
        && lists_meet(&first.projects, &second.projects)
        && lists_meet(&first.images, &second.images)
        && lists_meet(&first.providers, &second.providers)
}

fn lists_meet(first: &[String], second: &[String]) -> bool {
    let meets = |one: &String| second.iter().any(|other| patterns_meet(one, other));
    first.is_empty() || second.is_empty() || first.iter().any(meets)
}

fn patterns_meet(one: &str, other: &str) -> bool {
    match (one.contains('*'), other.contains('*')) {
        (true, true) => true,
        (true, false) => is_like(one, other),
        (false, true) => is_like(other, one),
        (false, false) => one == other,
    }
}
