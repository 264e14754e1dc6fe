//! `bench plan`: one pass of the planner and the audit over a long queue.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::{BuildId, MachineId, Market, Rate, Span, Timestamp};
use crate::planner::{
    Candidate, Class, ClassId, ImageIndex, ImageView, Limit, MachineView, Meter, OfferingView,
    Phase, QueueKey, Snapshot, audit, plan,
};

use super::host::Stopwatch;
use super::quantile::summary;

/// Sizes of the synthetic house.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Queued builds
    #[arg(long, default_value_t = 10_000)]
    builds: u32,
    /// Machines, a third of them idle
    #[arg(long, default_value_t = 500)]
    machines: u32,
    /// Images
    #[arg(long, default_value_t = 200)]
    images: u32,
    /// Distinct sets of requirements
    #[arg(long, default_value_t = 400)]
    classes: u32,
    /// Passes
    #[arg(long, default_value_t = 50)]
    passes: u32,
}

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

pub(super) fn run(options: &Options) -> Value {
    let snapshot = house(options);
    let mut planning = Vec::new();
    let mut auditing = Vec::new();
    let (mut actions, mut violations) = (0, BTreeSet::new());
    for pass in 0..options.passes {
        let mut next = u128::from(pass + 1) << 64;
        let watch = Stopwatch::start();
        let plan = plan(&snapshot, NOW, &mut || {
            next += 1;
            next
        });
        planning.push(watch.elapsed());
        let watch = Stopwatch::start();
        let found = audit(&snapshot, &plan, NOW);
        auditing.push(watch.elapsed());
        violations.extend(found.iter().map(ToString::to_string));
        actions = plan.actions.len();
    }
    json!({
        "bench": "plan",
        "method": "the pure planner on a synthetic snapshot, every pass from the same state; \
                   audit measured apart",
        "builds": options.builds, "machines": options.machines,
        "images": options.images, "classes": options.classes,
        "actions_per_pass": actions, "violations": violations,
        "plan": summary(planning), "audit": summary(auditing),
    })
}

/// Builds over all classes, candidates of each class spread over the images, machines over images
/// and phases; half of the machines more are allowed.
fn house(options: &Options) -> Snapshot {
    let mut snapshot = Snapshot {
        images: (0..options.images).map(image).collect(),
        limits: vec![Limit {
            name: "default".to_owned(),
            machines: Some(options.machines + options.machines / 2),
            ..Limit::default()
        }],
        ..Snapshot::default()
    };
    for id in 0..options.classes {
        let mut candidates: Vec<Candidate> = (0..options.images)
            .filter(|image| (image * 7 + id * 13) % 10 == 0)
            .map(|image| Candidate {
                price: Rate::from_micros_per_hour(u64::from(10_000 + image * 37 % 5_000)),
                spare: image % 5,
                image: ImageIndex(image as usize),
            })
            .collect();
        candidates.sort_unstable();
        snapshot.classes.insert(
            ClassId(id),
            Class {
                candidates,
                ..Class::default()
            },
        );
    }
    for build in 0..options.builds {
        let key = QueueKey {
            priority: Reverse(i32::try_from(build % 3).unwrap_or(0)),
            submitted_at: NOW - Span::from_millis(u64::from(options.builds - build)),
            build: BuildId::from_bits(u128::from(build) + 1),
        };
        snapshot.enqueue(
            ClassId(build.wrapping_mul(2_654_435_761) % options.classes),
            key,
            None,
        );
    }
    for id in 0..options.machines {
        snapshot.machines.insert(
            MachineId::from_bits(u128::from(id) + 1),
            machine(id, options),
        );
    }
    snapshot
}

fn image(id: u32) -> ImageView {
    ImageView {
        name: format!("image-{id}"),
        version: Some(1),
        idle_timeout: Span::from_secs(600),
        max_lifetime: Span::from_secs(86_400),
        max_builds: u32::MAX,
        offerings: vec![OfferingView {
            price: Rate::from_micros_per_hour(10_000),
            vcpus: 1,
            market: Market::OnDemand,
            available_after: None,
            zone: 0,
            place: 0,
        }],
        ..ImageView::default()
    }
}

fn machine(id: u32, options: &Options) -> MachineView {
    MachineView {
        image: ImageIndex((id % options.images) as usize),
        version: 1,
        price: Rate::from_micros_per_hour(10_000),
        market: Market::OnDemand,
        offering: Some(0),
        is_interrupted: false,
        project: None,
        phase: match id % 3 {
            0 => Phase::Idle(NOW - Span::from_secs(u64::from(id % 500))),
            1 => Phase::Busy,
            _ => Phase::Coming { claimed: true },
        },
        created_at: NOW - Span::from_secs(3_600),
        builds_done: id % 20,
        claims: u32::from(!id.is_multiple_of(3)),
        free: u32::from(id.is_multiple_of(3)),
        held_until: None,
        meter: Meter::default(),
    }
}
