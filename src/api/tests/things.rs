//! Rows to test with.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::model::{
    Attempt, AttemptId, AttemptState, Build, BuildId, BuildResult, BuildSpec, BuildState,
    CapabilityValue, Category, Cursor, Endpoint, Entry, Event, EventKind, Image, ImageSpec,
    ImageState, InstanceId, Login, Machine, MachineId, MachineState, Market, Money, Outcome,
    Pipeline, PipelineId, Policy, PolicySpec, Rate, Requirement, Requirements, Shape, Span, Step,
    StepRecord, Subject, Timestamp, Token, TokenId, TokenRole,
};

/// The time in these tests: 2023-11-14T22:13:20Z.
pub(super) const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

pub(super) fn pipeline(bits: u128) -> Pipeline {
    Pipeline {
        id: PipelineId::from_bits(bits),
        name: "nightly".to_owned(),
        project: "demo".to_owned(),
        labels: BTreeMap::from([("branch".to_owned(), "main".to_owned())]),
        priority: 0,
        submitted_at: NOW,
        submitted_by: "ci".to_owned(),
        idempotency: None,
        builds: 2,
    }
}

fn step(name: &str) -> Step {
    Step {
        name: name.to_owned(),
        run: format!("make {name}"),
        env: BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]),
        timeout: Some(Span::from_secs(60)),
        continue_on_error: false,
        always: false,
    }
}

/// A queued build with three steps.
pub(super) fn build(bits: u128, pipeline: PipelineId) -> Build {
    let spec = BuildSpec {
        pipeline,
        name: "test (3.12)".to_owned(),
        project: "demo".to_owned(),
        labels: BTreeMap::new(),
        priority: 0,
        matrix: BTreeMap::from([("python".to_owned(), "3.12".to_owned())]),
        requires: Requirements::from([("git".to_owned(), Requirement::Present)]),
        image: None,
        fresh: false,
        deadline: None,
        needs: Vec::new(),
        steps: vec![step("configure"), step("compile"), step("test")],
        env: BTreeMap::from([("PASSWORD".to_owned(), "hunter2".to_owned())]),
        timeout: Span::from_secs(1_800),
        max_attempts: 3,
        log_limit_bytes: 1 << 20,
        submitted_at: NOW,
    };
    Build {
        id: BuildId::from_bits(bits),
        spec: Arc::new(spec),
        state: BuildState::Queued {
            since: NOW,
            not_before: NOW,
        },
        attempts: 0,
        spared: 0,
        cancel: None,
        rev: 0,
    }
}

/// The same build with its first step running on `attempt`.
pub(super) fn running(mut build: Build, attempt: &Attempt) -> Build {
    build.attempts = attempt.number;
    build.state = BuildState::Running {
        machine: attempt.machine,
        attempt: attempt.id,
        since: NOW,
    };
    build
}

/// The same build with its result.
pub(super) fn finished(mut build: Build, result: BuildResult) -> Build {
    let reason = if result == BuildResult::Success {
        ""
    } else {
        "step test exited with 2"
    };
    build.state = BuildState::Finished {
        result,
        reason: reason.to_owned(),
        started_at: Some(NOW),
        at: NOW + Span::from_secs(9),
    };
    build
}

/// An attempt that runs, with nothing of its log stored.
pub(super) fn attempt(bits: u128, build: BuildId, number: u32) -> Attempt {
    Attempt {
        id: AttemptId::from_bits(bits),
        build,
        number,
        machine: MachineId::from_bits(1),
        bound_at: NOW,
        state: AttemptState::Running { since: NOW },
        steps: Vec::new(),
        cursor: Cursor::default(),
        rev: 0,
    }
}

/// The same attempt, over, with this many log bytes at home.
pub(super) fn over(mut attempt: Attempt, stored: u64, outcome: Outcome) -> Attempt {
    attempt.cursor = Cursor {
        machine: stored,
        stored,
    };
    attempt.state = AttemptState::Finished {
        outcome,
        at: NOW + Span::from_secs(9),
    };
    attempt
}

pub(super) fn step_record(
    index: u32,
    log: (u64, Option<u64>),
    exit_code: Option<i32>,
) -> StepRecord {
    StepRecord {
        index,
        started_at: NOW,
        ended_at: exit_code.map(|_| NOW + Span::from_secs(1)),
        exit_code,
        log_start: log.0,
        log_end: log.1,
    }
}

fn shape() -> Shape {
    Shape {
        name: "t3.medium".to_owned(),
        vcpus: 2,
        memory_mib: 4_096,
        price_usd_micro_per_hour: Rate::from_micros_per_hour(3_600_000),
    }
}

/// An idle machine that was launched an hour ago, billed for half of it, at a dollar a second.
pub(super) fn machine(bits: u128) -> Machine {
    Machine {
        id: MachineId::from_bits(bits),
        image: "debian-12".to_owned(),
        image_version: 1,
        provider: "local".to_owned(),
        shape: shape(),
        zone: String::new(),
        market: Market::OnDemand,
        asleep_usd_micro_per_hour: Rate::default(),
        launch: None,
        tariff: None,
        project: None,
        launched_for: None,
        state: MachineState::Idle {
            instance: InstanceId("i-0abc".to_owned()),
            endpoint: Endpoint {
                address: "127.0.0.1:2222".parse().unwrap(),
            },
        },
        since: NOW,
        created_at: NOW - Span::from_secs(3_600),
        builds_done: 4,
        billed_until: NOW - Span::from_secs(1_800),
        billed: Money::from_micros(1_800_000),
        at_most: None,
        billing: crate::model::Billing::default(),
        boot: None,
        hold: None,
        rev: 0,
    }
}

pub(super) fn image(name: &str, version: u32, state: ImageState) -> Image {
    let spec = ImageSpec {
        description: "Debian with Python".to_owned(),
        provider: "local".to_owned(),
        reference: serde_json::json!({"ami": "ami-1"}),
        login: Login {
            user: "admin".to_owned(),
        },
        shapes: vec![shape()],
        wish: None,
        capabilities: BTreeMap::from([
            ("docker".to_owned(), CapabilityValue::Flag(true)),
            (
                "python".to_owned(),
                CapabilityValue::Values(vec!["3.12.4".to_owned()]),
            ),
        ]),
        ready: None,
        probes: BTreeMap::from([("python".to_owned(), "python3 -V".to_owned())]),
        boot_timeout: Span::from_secs(120),
        slots: 1,
        billing: None,
    };
    Image {
        name: name.to_owned(),
        version,
        state,
        spec,
        applied_at: NOW,
        rev: 0,
    }
}

pub(super) fn policy(name: &str, version: u32) -> Policy {
    let spec = PolicySpec {
        max_machines: Some(20),
        idle_timeout: Some(crate::model::IdleTimeout::After(Span::from_secs(600))),
        ..PolicySpec::default()
    };
    Policy {
        name: name.to_owned(),
        version,
        spec,
        applied_at: NOW,
        rev: 0,
    }
}

pub(super) fn event(subject: Subject, kind: EventKind) -> Event {
    Event {
        at: NOW,
        subject,
        kind,
        message: "It happened.".to_owned(),
    }
}

/// A token whose text is `dm_` and its name.
pub(super) fn token(bits: u128, name: &str, role: TokenRole) -> Token {
    let digest = Sha256::digest(format!("dm_{name}"));
    Token {
        id: TokenId::from_bits(bits),
        name: name.to_owned(),
        role,
        hash: crate::api::auth::hex(&digest.into()),
        created_at: NOW,
        revoked_at: None,
    }
}

/// Money spent for a build a second before now.
pub(super) fn entry(build: &Build, category: Category, micros: i64) -> Entry {
    Entry {
        machine: MachineId::from_bits(1),
        image: "debian-12".to_owned(),
        build: Some(build.id),
        attempt: None,
        pipeline: Some(build.spec.pipeline),
        project: Some(build.spec.project.clone()),
        category,
        from: NOW - Span::from_secs(1),
        to: NOW,
        amount: Money::from_micros(micros),
    }
}
