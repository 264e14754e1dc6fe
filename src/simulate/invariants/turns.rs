//! Turns: a build that waits for a limit is overtaken by others that count for the same limit only as
//! often as weights and priorities allow.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{BuildId, Market, Timestamp};
use crate::planner::{Action, Blocked, Class, Flow, Plan, Snapshot, Waiting};

/// How often builds that wait were overtaken since the last turn of their flow, and by which flows.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<BuildId, BTreeMap<Flow, u64>>);

/// A launch for a build.
struct Launched<'a> {
    submitted_at: Timestamp,
    class: &'a Class,
    image: crate::planner::ImageIndex,
    market: Market,
}

impl Turns {
    /// Turns are counted anew: weights have changed, or the orchestrator has begun anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Looks at whom a plan prefers.
    pub(super) fn look(&mut self, snapshot: &Snapshot, plan: &Plan) -> Result<(), String> {
        self.0
            .retain(|build, _| snapshot.queued.contains_key(build));
        let launched: Vec<Launched<'_>> = plan
            .actions
            .iter()
            .filter_map(|action| launched(snapshot, action))
            .collect();
        let placed = plan.actions.iter().filter_map(Action::build);
        let served: BTreeSet<Flow> = placed
            .filter_map(|build| Some(class_of(snapshot, build)?.flow()))
            .collect();
        self.0.retain(|build, _| {
            let class = class_of(snapshot, *build);
            class.is_some_and(|class| !served.contains(&class.flow()))
        });
        for waiting in &plan.waiting {
            let class = snapshot.classes.get(&waiting.class);
            let Some(class) = class.filter(|class| !served.contains(&class.flow())) else {
                continue;
            };
            for other in &launched {
                if !is_overtaken(snapshot, (waiting, class), other) {
                    continue;
                }
                let by = self.0.entry(waiting.first).or_default();
                let times = by.entry(other.class.flow()).or_default();
                *times += 1;
                let most = most(snapshot, class.flow(), other.class.flow());
                if *times > most {
                    return Err(format!(
                        "{} of {:?} was overtaken {times} times by {:?}, which may do so {most} \
                         times; it waits: {:?}",
                        waiting.first,
                        class.flow(),
                        other.class.flow(),
                        waiting.why
                    ));
                }
            }
        }
        Ok(())
    }
}

fn class_of(snapshot: &Snapshot, build: BuildId) -> Option<&Class> {
    let queued = snapshot.queued.get(&build)?;
    snapshot.classes.get(&queued.class)
}

fn launched<'a>(snapshot: &'a Snapshot, action: &Action) -> Option<Launched<'a>> {
    let Action::Launch {
        image,
        market,
        claim: Some((build, _)),
        ..
    } = action
    else {
        return None;
    };
    let queued = snapshot.queued.get(build)?;
    Some(Launched {
        submitted_at: queued.key.submitted_at,
        class: snapshot.classes.get(&queued.class)?,
        image: *image,
        market: *market,
    })
}

/// Whether a build that waits could have had the machine that was launched for another one, as far as
/// the limit goes that it waits for.
fn is_overtaken(
    snapshot: &Snapshot,
    (waiting, class): (&Waiting, &Class),
    other: &Launched<'_>,
) -> bool {
    let Blocked::Limit(reached) = &waiting.why else {
        return false;
    };
    let Some(limit) = snapshot.limits.get(reached.limit) else {
        return false;
    };
    let scope = &limit.scope;
    let queued = snapshot.queued.get(&waiting.first);
    let is_younger = queued.is_some_and(|queued| queued.key.submitted_at < other.submitted_at);
    let counts = |class: &Class| scope.covers(other.image, Some(class.project), &class.rules);
    let mut candidates = class.candidates.iter();
    candidates.any(|candidate| candidate.image == other.image)
        && is_younger
        && (!class.on_demand || other.market == Market::OnDemand)
        && counts(class)
        && counts(other.class)
}

/// How often a flow may overtake another one between two turns of that: as often as its share and
/// priority are more, twice for the credit of a flow that begins to wait, and a few times for the
/// ends of both.
fn most(snapshot: &Snapshot, waits: Flow, overtakes: Flow) -> u64 {
    let by = u32::try_from(overtakes.priority.saturating_sub(waits.priority).max(0));
    let more = 1_u64.checked_shl(by.unwrap_or(0)).unwrap_or(u64::MAX);
    let weight = |flow| u64::from(snapshot.weight(flow).max(1));
    let ratio = more
        .saturating_mul(weight(overtakes))
        .div_ceil(weight(waits));
    ratio.saturating_mul(2).saturating_add(4)
}
