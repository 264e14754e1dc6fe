//! `bench plan`: passes of the planner and the audit over a long queue, the first one and those after
//! single events.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::{BuildId, MachineId, Market, Rate, Span, Timestamp};
use crate::planner::{
    Action, Candidate, Class, ClassId, ImageIndex, ImageView, Limit, MachineView, Meter,
    OfferingView, Past, Phase, Plan, QueueKey, Snapshot, audit, plan,
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
    /// Passes of each kind
    #[arg(long, default_value_t = 50)]
    passes: u32,
    /// Also an eighth, a quarter and a half of each size, for how the time grows
    #[arg(long)]
    growth: bool,
}

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// Where identities of a pass begin: those of machines and builds are lower.
const FRESH: u128 = 1 << 64;

pub(super) fn run(options: &Options) -> Value {
    let parts: &[u32] = if options.growth { &[8, 4, 2, 1] } else { &[1] };
    let sizes = parts.iter().map(|part| {
        let size = Options {
            builds: options.builds / part,
            machines: options.machines / part,
            images: options.images / part,
            classes: options.classes / part,
            ..*options
        };
        measure(&size)
    });
    json!({
        "bench": "plan",
        "method": "the pure planner on a synthetic snapshot: first plans, each from the same state; \
                   then what they decide is applied, and after each further event (a build ends, its \
                   machine is idle) another plan is made and applied; audits measured apart",
        "sizes": sizes.collect::<Vec<_>>(),
    })
}

fn measure(size: &Options) -> Value {
    let mut snapshot = house(size);
    let mut first = Measured::default();
    let mut ids = FRESH;
    let mut plan = Plan::default();
    for _ in 0..size.passes {
        plan = first.pass(&snapshot, &mut ids);
    }
    let mut event = Measured::default();
    let busy: Vec<MachineId> = snapshot.machines.keys().copied().collect();
    apply(&mut snapshot, &plan);
    for machine in busy.iter().take(size.passes as usize) {
        ends(&mut snapshot, *machine);
        let plan = event.pass(&snapshot, &mut ids);
        apply(&mut snapshot, &plan);
    }
    json!({
        "builds": size.builds, "machines": size.machines,
        "images": size.images, "classes": size.classes,
        "first": first.report(), "after_one_event": event.report(),
    })
}

/// Passes of one kind.
#[derive(Default)]
struct Measured {
    planning: Vec<Duration>,
    auditing: Vec<Duration>,
    actions: usize,
    violations: BTreeSet<String>,
}

impl Measured {
    fn pass(&mut self, snapshot: &Snapshot, ids: &mut u128) -> Plan {
        let watch = Stopwatch::start();
        let plan = plan(snapshot, NOW, &mut || {
            *ids += 1;
            *ids
        });
        self.planning.push(watch.elapsed());
        let watch = Stopwatch::start();
        let found = audit(snapshot, &plan, NOW);
        self.auditing.push(watch.elapsed());
        self.violations
            .extend(found.iter().map(ToString::to_string));
        self.actions += plan.actions.len();
        plan
    }

    fn report(self) -> Value {
        json!({
            "actions_per_pass": self.actions / self.planning.len().max(1),
            "violations": self.violations,
            "plan": summary(self.planning), "audit": summary(self.auditing),
        })
    }
}

/// What the books would make of a plan.
fn apply(snapshot: &mut Snapshot, plan: &Plan) {
    for action in &plan.actions {
        if let Some(build) = action.build() {
            snapshot.charge(build);
            snapshot.dequeue(build);
        }
        match action {
            Action::Bind { machine, .. } => has_build(snapshot, *machine, Phase::Busy),
            Action::Launch { machine, image, .. } => {
                let coming = machine_of(image.0, Phase::Coming { claimed: true });
                snapshot.machines.insert(*machine, coming);
            }
            Action::Drain { machine, .. } => {
                snapshot.machines.remove(machine);
            }
            Action::Wake { .. } | Action::Sleep { .. } | Action::GiveUp { .. } => {}
        }
    }
}

fn has_build(snapshot: &mut Snapshot, machine: MachineId, phase: Phase) {
    if let Some(machine) = snapshot.machines.get_mut(&machine) {
        machine.phase = phase;
        machine.claims = 1;
        machine.free = 0;
    }
}

/// Its build ends.
fn ends(snapshot: &mut Snapshot, machine: MachineId) {
    if let Some(machine) = snapshot.machines.get_mut(&machine) {
        machine.phase = Phase::Idle(NOW);
        machine.builds_done += 1;
        machine.claims = 0;
        machine.free = 1;
    }
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
                candidates: candidates.into(),
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
    let phase = match id % 3 {
        0 => Phase::Idle(NOW - Span::from_secs(u64::from(id % 500))),
        1 => Phase::Busy,
        _ => Phase::Coming { claimed: true },
    };
    MachineView {
        builds_done: id % 20,
        ..machine_of((id % options.images) as usize, phase)
    }
}

fn machine_of(image: usize, phase: Phase) -> MachineView {
    let is_idle = matches!(phase, Phase::Idle(_));
    MachineView {
        image: ImageIndex(image),
        version: 1,
        price: Rate::from_micros_per_hour(10_000),
        market: Market::OnDemand,
        offering: Some(0),
        is_interrupted: false,
        project: None,
        past: Past::default(),
        phase,
        created_at: NOW - Span::from_secs(3_600),
        builds_done: 0,
        claims: u32::from(!is_idle),
        free: u32::from(is_idle),
        held_until: None,
        meter: Meter::default(),
    }
}
