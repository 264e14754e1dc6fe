//! What goes wrong on a seeded day, and what people do.

use crate::model::{ImageSpec, PolicySpec, Span, Timestamp};

use super::{HOUR, MIDNIGHT, MINUTE, policies, small, sometimes};
use crate::simulate::dice::Dice;
use crate::simulate::faults::{Disturbance, Faults, Refusal};
use crate::simulate::scenario::Work;

pub(super) fn faults(dice: &mut Dice) -> Faults {
    Faults {
        lost_replies_per_mille: sometimes(dice, 300),
        partial_fills_per_mille: sometimes(dice, 500),
        throttles_per_mille: sometimes(dice, 500),
        no_address_per_mille: sometimes(dice, 200),
        never_ready_per_mille: sometimes(dice, 200),
        losses_per_mille_hour: sometimes(dice, 300),
        notices_percent: small(dice.below(101)),
        wakes_refused_per_mille: sometimes(dice, 400),
        wakes_broken_per_mille: sometimes(dice, 200),
        not_asleep_per_mille: sometimes(dice, 300),
        ends_refused_per_mille: sometimes(dice, 600),
        failures_per_mille: 50 + sometimes(dice, 200),
        endless_per_mille: sometimes(dice, 40),
        reboots_per_mille: sometimes(dice, 80),
        stubborn_per_mille: sometimes(dice, 400),
        unclean_per_mille: sometimes(dice, 100),
        fills_percent: sometimes(dice, 40),
        slow_tidies_per_mille: sometimes(dice, 300),
    }
}

/// What happens beside the work, at any time from the first to well after the last push.
pub(super) fn disturbances(
    dice: &mut Dice,
    images: &[(String, ImageSpec)],
    policies: &[(String, PolicySpec)],
    has_spot: bool,
) -> Vec<(Timestamp, Disturbance)> {
    let count = dice.below(14);
    let disturbances = (0..count).map(|_| {
        let second = dice.between(9 * HOUR, 20 * HOUR);
        let at = MIDNIGHT + Span::from_secs(second) + dice.up_to(Span::from_secs(1));
        (at, disturbance(dice, images, policies, has_spot))
    });
    disturbances.collect()
}

/// Now and then the orchestrator is killed while what a push needs is on its way out.
pub(super) fn kill_at_push(dice: &mut Dice, work: &[Work]) -> Option<(Timestamp, Disturbance)> {
    const LAUNCHING: Span = Span::from_millis(700);
    let push = work.get(dice.place(work.len()))?;
    let at = push.submit + dice.up_to(LAUNCHING);
    let down = dice.up_to(Span::from_secs(MINUTE));
    dice.chance(300)
        .then_some((at, Disturbance::Restart { down }))
}

fn disturbance(
    dice: &mut Dice,
    images: &[(String, ImageSpec)],
    policies: &[(String, PolicySpec)],
    has_spot: bool,
) -> Disturbance {
    match dice.below(17) {
        0 => Disturbance::Drought {
            percent: 30 + small(dice.below(71)),
            // Now and then for longer than builds wait for capacity.
            lasts: Span::from_secs(dice.between(5, 10 * MINUTE) * MINUTE),
        },
        1 => Disturbance::Outage {
            lasts: dice.up_to(Span::from_secs(90 * MINUTE)),
        },
        2..=4 => Disturbance::Restart {
            down: dice.up_to(Span::from_secs(5 * MINUTE)),
        },
        5 => Disturbance::ClockJump(dice.up_to(Span::from_secs(30 * MINUTE))),
        6 => other_policy(dice, policies, has_spot),
        7 | 8 => other_image(dice, images),
        9 | 10 => Disturbance::Cancel {
            percent: 10 + small(dice.below(60)),
        },
        11 => Disturbance::Retry,
        12 => Disturbance::Wave {
            percent: 50 + small(dice.below(51)),
        },
        13 => Disturbance::Refusals {
            what: Refusal::Account,
            lasts: dice.up_to(Span::from_secs(30 * MINUTE)),
        },
        14 => Disturbance::Refusals {
            what: Refusal::Image(
                images
                    .get(dice.place(images.len()))
                    .map(|(name, _)| name.clone())
                    .unwrap_or_default(),
            ),
            lasts: dice.up_to(Span::from_secs(2 * HOUR)),
        },
        15 => Disturbance::Release,
        _ => Disturbance::EndMachine,
    }
}

/// A policy of the day is applied anew, with other values. What is spent under budgets is left as it
/// is: a smaller amount would be exceeded by what runs already.
fn other_policy(dice: &mut Dice, policies: &[(String, PolicySpec)], has_spot: bool) -> Disturbance {
    let found = policies.get(dice.place(policies.len())).cloned();
    let (name, before) = found.unwrap_or_default();
    let other = policies::general(dice, has_spot);
    let spec = PolicySpec {
        images: before.images,
        projects: before.projects,
        labels: before.labels,
        budgets: before.budgets,
        ..other
    };
    let speaks_of_builds = !spec.labels.is_empty();
    let spec = if speaks_of_builds {
        of_builds(spec)
    } else {
        spec
    };
    Disturbance::Policy(name, spec)
}

/// What a policy may say that speaks of builds only.
fn of_builds(spec: PolicySpec) -> PolicySpec {
    PolicySpec {
        labels: spec.labels,
        max_builds: spec.max_builds,
        value_of_wait: spec.value_of_wait,
        superseded: spec.superseded,
        ..PolicySpec::default()
    }
}

/// A new version of an image, which now and then does not boot.
fn other_image(dice: &mut Dice, images: &[(String, ImageSpec)]) -> Disturbance {
    let Some((name, spec)) = images.get(dice.place(images.len())) else {
        return Disturbance::Retry;
    };
    let mut spec = spec.clone();
    spec.description = format!("as of {}", dice.below(1_000));
    if dice.chance(500) {
        Disturbance::BadImage(name.clone(), spec)
    } else {
        Disturbance::Image(name.clone(), spec)
    }
}
