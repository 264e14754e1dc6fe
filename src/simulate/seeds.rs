//! Scenarios full of trouble, made from seeds: a day of an office with a few images, and everything
//! that can go wrong.

use std::collections::BTreeMap;

use crate::model::{
    CapabilityValue, IdleTimeout, ImageSpec, Login, MarketChoice, PolicySpec, Rate, Requirement,
    Shape, SleepKind, Span, Timestamp,
};

use super::dice::Dice;
use super::faults::{Disturbance, Faults};
use super::scenario::{CloudModel, Scenario, Work};

/// A Monday at midnight.
const MIDNIGHT: Timestamp = Timestamp::from_micros(1_767_571_200_000_000);
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
/// What images can build, by name.
const IMAGES: [(&str, &str); 4] = [
    ("debian", "python"),
    ("fedora", "go"),
    ("alpine", "python"),
    ("windows", "msvc"),
];

/// The scenario of a seed: always the same.
pub fn scenario(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed, 7);
    let images = images(&mut dice);
    let cloud = cloud(&mut dice);
    let policies = policies(&mut dice, cloud.has_fleet);
    let work = office_day(&mut dice, images.len());
    let faults = faults(&mut dice);
    let mut disturbances = disturbances(&mut dice, &images, &policies, cloud.has_fleet);
    disturbances.extend(kill_at_push(&mut dice, &work));
    disturbances.sort_by_key(|(at, _)| *at);
    Scenario {
        images,
        policies,
        work,
        cloud,
        faults,
        disturbances,
        is_watched: true,
        seed,
    }
}

fn images(dice: &mut Dice) -> Vec<(String, ImageSpec)> {
    let count = 2 + dice.place(3);
    let named = IMAGES.iter().take(count);
    named
        .map(|(name, capability)| ((*name).to_owned(), image(capability, dice)))
        .collect()
}

fn image(capability: &str, dice: &mut Dice) -> ImageSpec {
    let shapes = (1..=1 + dice.below(2)).map(|size| Shape {
        name: format!("size-{size}"),
        vcpus: u32::try_from(size * 2).unwrap_or(2),
        memory_mib: 4_096,
        price_usd_micro_per_hour: Rate::from_micros_per_hour(60_000 * size + dice.below(40_000)),
    });
    ImageSpec {
        description: String::new(),
        provider: "cloud".to_owned(),
        reference: serde_json::Value::Null,
        slots: 1,
        billing: None,
        login: Login {
            user: "build".to_owned(),
        },
        shapes: shapes.collect(),
        wish: None,
        capabilities: BTreeMap::from([(capability.to_owned(), CapabilityValue::Flag(true))]),
        ready: None,
        probes: BTreeMap::new(),
        boot_timeout: Span::from_secs(300),
    }
}

fn policies(dice: &mut Dice, has_spot: bool) -> Vec<(String, PolicySpec)> {
    let mut policies = vec![("default".to_owned(), policy(dice, has_spot))];
    if dice.chance(500) {
        let of_one = PolicySpec {
            images: vec!["debian".to_owned()],
            max_machines: Some(1 + u32::try_from(dice.below(3)).unwrap_or(0)),
            ..PolicySpec::default()
        };
        policies.push(("debian".to_owned(), of_one));
    }
    policies
}

fn policy(dice: &mut Dice, has_spot: bool) -> PolicySpec {
    let minutes = [1, 3, 10, 30];
    let idle = minutes.get(dice.place(4)).copied().unwrap_or(5);
    PolicySpec {
        max_machines: dice
            .chance(700)
            .then(|| 1 + u32::try_from(dice.below(12)).unwrap_or(0)),
        idle_timeout: Some(IdleTimeout::After(Span::from_secs(idle * MINUTE))),
        sleep: dice.chance(500).then_some(SleepKind::Stop),
        max_asleep: dice.chance(500).then_some(1),
        asleep_timeout: dice
            .chance(600)
            .then(|| Span::from_secs(HOUR * (1 + dice.below(6)))),
        market: match dice.below(3) {
            0 => None,
            // Without spare capacity to be had, its builds would wait for ever.
            1 if has_spot => Some(MarketChoice::Spot),
            _ => Some(MarketChoice::SpotWithFallback),
        },
        max_lifetime: dice
            .chance(300)
            .then(|| Span::from_secs(HOUR * (1 + dice.below(3)))),
        max_builds_per_machine: dice
            .chance(300)
            .then(|| 1 + u32::try_from(dice.below(5)).unwrap_or(0)),
        ..PolicySpec::default()
    }
}

/// Pushes of one to twelve builds between nine and six, and a few at night.
fn office_day(dice: &mut Dice, images: usize) -> Vec<Work> {
    let count = usize::try_from(dice.between(30, 150)).unwrap_or(30);
    let mut pushes: Vec<(Timestamp, usize)> = Vec::new();
    let mut builds = 0;
    while builds < count {
        let second = if dice.chance(850) {
            dice.between(9 * HOUR, 18 * HOUR)
        } else {
            dice.below(24 * HOUR)
        };
        let size = 1 + dice.place(12);
        builds += size;
        pushes.push((MIDNIGHT + Span::from_secs(second), size));
    }
    pushes.sort_unstable();
    let mut work = Vec::with_capacity(builds);
    for (submit, size) in pushes {
        push(dice, (submit, size), images, &mut work);
    }
    work
}

fn push(dice: &mut Dice, (submit, size): (Timestamp, usize), images: usize, work: &mut Vec<Work>) {
    let project = format!("project-{}", dice.below(3));
    let first = work.len();
    for place in 0..size {
        let known = IMAGES.get(dice.place(images)).copied();
        let (image, capability) = known.unwrap_or(("debian", "python"));
        let needs_first = place > 0 && dice.chance(150);
        work.push(Work {
            submit,
            run: dice.around(Span::from_secs(4 * MINUTE), 90),
            project: project.clone(),
            name: format!("{capability}-{place}"),
            priority: i32::try_from(dice.below(3)).unwrap_or(0) - 1,
            requires: BTreeMap::from([(capability.to_owned(), Requirement::Present)]),
            image: dice.chance(100).then(|| image.to_owned()),
            fresh: dice.chance(50),
            timeout: Some(Span::from_secs(HOUR)),
            needs: if needs_first { vec![first] } else { Vec::new() },
            ..Work::default()
        });
    }
}

fn cloud(dice: &mut Dice) -> CloudModel {
    CloudModel {
        spread_percent: 40,
        boot_failures_per_mille: sometimes(dice, 400),
        reclaims_per_mille_hour: sometimes(dice, 800),
        zones: 1 + u32::try_from(dice.below(2)).unwrap_or(0),
        has_fleet: dice.chance(850),
        ..CloudModel::default()
    }
}

fn faults(dice: &mut Dice) -> Faults {
    Faults {
        lost_replies_per_mille: sometimes(dice, 300),
        partial_fills_per_mille: sometimes(dice, 500),
        never_ready_per_mille: sometimes(dice, 200),
        losses_per_mille_hour: sometimes(dice, 300),
        notices_percent: u32::try_from(dice.below(101)).unwrap_or(0),
        wakes_refused_per_mille: sometimes(dice, 400),
        wakes_broken_per_mille: sometimes(dice, 200),
        not_asleep_per_mille: sometimes(dice, 300),
        ends_refused_per_mille: sometimes(dice, 600),
        failures_per_mille: 50 + sometimes(dice, 200),
        endless_per_mille: sometimes(dice, 40),
        reboots_per_mille: sometimes(dice, 80),
        stubborn_per_mille: sometimes(dice, 400),
    }
}

/// Half of the seeds know no trouble of a kind, so that no kind hides another.
fn sometimes(dice: &mut Dice, most: u64) -> u32 {
    if dice.chance(500) {
        return 0;
    }
    u32::try_from(dice.below(most)).unwrap_or(0)
}

fn disturbances(
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
fn kill_at_push(dice: &mut Dice, work: &[Work]) -> Option<(Timestamp, Disturbance)> {
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
    match dice.below(13) {
        0 => Disturbance::Drought {
            percent: 30 + u32::try_from(dice.below(71)).unwrap_or(0),
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
        6 => {
            let name = policies.get(dice.place(policies.len()));
            let name = name.map_or("default", |(name, _)| name.as_str());
            let mut spec = policy(dice, has_spot);
            if name != "default" {
                spec.images = vec![name.to_owned()];
            }
            Disturbance::Policy(name.to_owned(), spec)
        }
        7 => match images.get(dice.place(images.len())) {
            Some((name, spec)) => {
                let mut spec = spec.clone();
                spec.description = format!("as of {}", dice.below(1_000));
                Disturbance::Image(name.clone(), spec)
            }
            None => Disturbance::Retry,
        },
        8 | 9 => Disturbance::Cancel {
            percent: 10 + u32::try_from(dice.below(60)).unwrap_or(0),
        },
        10 => Disturbance::Retry,
        11 => Disturbance::Wave {
            percent: 50 + u32::try_from(dice.below(51)).unwrap_or(0),
        },
        _ => Disturbance::EndMachine,
    }
}
