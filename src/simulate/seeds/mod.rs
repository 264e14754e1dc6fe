//! Scenarios full of trouble, made from seeds: a day of an office with a few images, everything that
//! policies can ask for, and everything that can go wrong.

use std::collections::BTreeMap;

use crate::model::{Billing, CapabilityValue, ImageSpec, Login, Rate, Shape, Span, Timestamp};

use super::dice::Dice;
use super::scenario::{CloudModel, Scenario};

mod day;
mod policies;
mod trouble;

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
/// Projects are numbered.
const PROJECTS: u64 = 3;

/// The scenario of a seed: always the same.
pub fn scenario(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed, 7);
    let images = images(&mut dice);
    let cloud = cloud(&mut dice);
    let policies = policies::policies(&mut dice, cloud.has_fleet);
    let work = day::office_day(&mut dice, images.len());
    let faults = trouble::faults(&mut dice);
    let mut disturbances = trouble::disturbances(&mut dice, &images, &policies, cloud.has_fleet);
    disturbances.extend(trouble::kill_at_push(&mut dice, &work));
    disturbances.sort_by_key(|(at, _)| *at);
    Scenario {
        images,
        policies,
        work,
        cloud,
        faults,
        disturbances,
        approves_within: Some(Span::from_secs(2 * HOUR)),
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
        vcpus: small(size * 2),
        memory_mib: 4_096,
        price_usd_micro_per_hour: Rate::from_micros_per_hour(60_000 * size + dice.below(40_000)),
    });
    ImageSpec {
        description: String::new(),
        provider: "cloud".to_owned(),
        reference: serde_json::Value::Null,
        shapes: shapes.collect(),
        slots: 1 + small(dice.below(4)),
        billing: dice.chance(200).then(|| billing(dice)),
        login: Login {
            user: "build".to_owned(),
        },
        wish: None,
        capabilities: BTreeMap::from([(capability.to_owned(), CapabilityValue::Flag(true))]),
        ready: None,
        probes: BTreeMap::new(),
        boot_timeout: Span::from_secs(300),
    }
}

/// By the minute with a least bill, or by the hour, as some licences are.
fn billing(dice: &mut Dice) -> Billing {
    if dice.chance(500) {
        return Billing {
            quantum: Span::from_secs(HOUR),
            minimum: Span::ZERO,
        };
    }
    Billing {
        quantum: Span::ZERO,
        minimum: Span::from_secs(dice.between(1, 10) * MINUTE),
    }
}

fn cloud(dice: &mut Dice) -> CloudModel {
    CloudModel {
        spread_percent: 40,
        boot_failures_per_mille: sometimes(dice, 400),
        reclaims_per_mille_hour: sometimes(dice, 800),
        zones: 1 + small(dice.below(2)),
        has_fleet: dice.chance(850),
        quota: dice.chance(200).then(|| 1 + small(dice.below(6))),
        ..CloudModel::default()
    }
}

/// Half of the seeds know no trouble of a kind, so that no kind hides another.
fn sometimes(dice: &mut Dice, most: u64) -> u32 {
    if dice.chance(500) {
        return 0;
    }
    small(dice.below(most))
}

/// A small draw as what policies count in.
fn small(draw: u64) -> u32 {
    u32::try_from(draw).unwrap_or(0)
}

fn project(number: u64) -> String {
    format!("project-{number}")
}
