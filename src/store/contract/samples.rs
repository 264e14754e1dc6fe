//! Values with every field filled, from small numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{
    Attempt, AttemptId, AttemptState, Billing, Boot, Build, BuildId, BuildResult, BuildSpec,
    BuildState, Cancel, Capabilities, CapabilityValue, Category, Claims, Constraint, Cursor,
    Endpoint, Entry, Event, EventKind, Extent, Hold, Image, ImageSpec, ImageState, InstanceId,
    Launch, LaunchId, LineMark, Login, Machine, MachineId, MachineKeys, MachineState, Market,
    MarketChoice, Money, Operator, Outcome, PackId, Pipeline, PipelineId, Policy, PolicySpec, Pool,
    Rate, Reason, Requirement, Secret, Shape, ShapeWish, SleepKind, Span, Step, StepRecord,
    Subject, Tariff, Timestamp, Token, TokenId, TokenRole,
};

/// Makes sample values; the same numbers give the same values.
pub(in crate::store) struct Samples;

/// 2026-11-21 00:00 UTC: on the border of a day, so that small numbers fall on both sides of it.
pub(in crate::store) const EPOCH: i64 = 1_795_219_200_000_000;

/// A text with what breaks quoting.
const NASTY: &str = "it's \"quoted\" \\ back, ünïcödé 🐭, line\nbreak, tab\t, nul \u{0}, $1 ?1";

pub(in crate::store) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_micros(EPOCH + seconds * 1_000_000 + 123_456)
}

pub(in crate::store) fn pipeline_id(n: u64) -> PipelineId {
    PipelineId::from_bits(u128::from(n) << 64)
}

pub(in crate::store) fn build_id(n: u64) -> BuildId {
    BuildId::from_bits(u128::from(n) << 64)
}

pub(in crate::store) fn attempt_id(n: u64) -> AttemptId {
    AttemptId::from_bits(u128::from(n) << 64)
}

pub(in crate::store) fn machine_id(n: u64) -> MachineId {
    MachineId::from_bits(u128::from(n) << 64)
}

pub(in crate::store) fn launch_id(n: u64) -> LaunchId {
    LaunchId::from_bits(u128::from(n) << 64)
}

pub(in crate::store) fn token_id(n: u64) -> TokenId {
    TokenId::from_bits(u128::from(n) << 64)
}

fn map(n: u64) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("n".to_owned(), n.to_string()),
        ("nasty".to_owned(), NASTY.to_owned()),
        (String::new(), String::new()),
    ])
}

impl Samples {
    pub(in crate::store) fn pipeline(n: u64) -> Pipeline {
        Pipeline {
            id: pipeline_id(n),
            name: format!("pipeline {n} {NASTY}"),
            project: Self::project(n),
            labels: map(n),
            priority: -3,
            submitted_at: time(7),
            submitted_by: "ann".to_owned(),
            idempotency: None,
            builds: 2,
        }
    }

    /// Two projects, so that filters have something to leave out.
    pub(in crate::store) fn project(n: u64) -> String {
        ["docs", "engine"][usize::from(n % 2 == 1)].to_owned()
    }

    pub(in crate::store) fn build(n: u64, pipeline: u64, state: BuildState) -> Build {
        Build {
            id: build_id(n),
            spec: Arc::new(Self::spec(n, pipeline)),
            state,
            attempts: 0,
            spared: 0,
            cancel: None,
            rev: 0,
        }
    }

    fn spec(n: u64, pipeline: u64) -> BuildSpec {
        let requires = BTreeMap::from([
            ("shell".to_owned(), Requirement::Present),
            ("windows".to_owned(), Requirement::Absent),
            (
                "python".to_owned(),
                Requirement::AnyOf(vec![
                    Constraint::Is("3.12".to_owned()),
                    Constraint::All(vec![(Operator::GreaterOrEqual, "3.11".to_owned())]),
                ]),
            ),
        ]);
        BuildSpec {
            pipeline: pipeline_id(pipeline),
            name: format!("build {n} {NASTY}"),
            project: Self::project(pipeline),
            labels: map(n),
            priority: 5,
            matrix: map(n + 1),
            requires,
            image: Some("debian".to_owned()),
            fresh: true,
            deadline: None,
            needs: Vec::new(),
            steps: vec![
                Step {
                    name: "compile".to_owned(),
                    run: format!("make all\n{NASTY}"),
                    env: map(n + 2),
                    timeout: Some(Span::from_secs(90)),
                    continue_on_error: true,
                    always: true,
                },
                Step {
                    name: "test".to_owned(),
                    run: "make test".to_owned(),
                    env: BTreeMap::new(),
                    timeout: None,
                    continue_on_error: false,
                    always: false,
                },
            ],
            env: map(n + 3),
            timeout: Span::from_secs(3_600),
            max_attempts: 3,
            log_limit_bytes: 1 << 40,
            submitted_at: time(8),
        }
    }

    /// One of each state of a build, by number.
    pub(in crate::store) fn build_state(n: u64) -> BuildState {
        let (machine, attempt, since) = (machine_id(n), attempt_id(n), time(9));
        match n % 11 {
            0 => BuildState::Waiting,
            1 | 2 => BuildState::Queued {
                since,
                not_before: time(10),
            },
            3 => BuildState::Bound {
                machine,
                attempt,
                since,
            },
            4 => BuildState::Running {
                machine,
                attempt,
                since,
            },
            5 => Self::finished(BuildResult::Success),
            6 => Self::finished(BuildResult::Failure),
            7 => Self::finished(BuildResult::Canceled),
            8 => Self::finished(BuildResult::TimedOut),
            9 => Self::finished(BuildResult::InfraFailure),
            _ => Self::finished(BuildResult::Skipped),
        }
    }

    pub(in crate::store) fn finished(result: BuildResult) -> BuildState {
        BuildState::Finished {
            result,
            reason: NASTY.to_owned(),
            started_at: Some(time(11)),
            at: time(12),
        }
    }

    pub(in crate::store) fn cancel() -> Cancel {
        Cancel {
            at: time(13),
            reason: NASTY.to_owned(),
            result: BuildResult::TimedOut,
        }
    }

    pub(in crate::store) fn attempt(n: u64, build: u64, number: u32) -> Attempt {
        Attempt {
            id: attempt_id(n),
            build: build_id(build),
            number,
            machine: machine_id(n),
            bound_at: time(14),
            state: AttemptState::Bound,
            steps: Vec::new(),
            cursor: Cursor::default(),
            rev: 0,
        }
    }

    /// The attempt further on, with steps and a cursor.
    pub(in crate::store) fn attempt_later(attempt: &Attempt, rev: u64) -> Attempt {
        let step = StepRecord {
            index: 0,
            started_at: time(15),
            ended_at: Some(time(16)),
            exit_code: Some(-1),
            log_start: 0,
            log_end: Some(1 << 41),
        };
        Attempt {
            state: AttemptState::Finished {
                outcome: Outcome::Infrastructure(NASTY.to_owned()),
                at: time(17),
            },
            steps: vec![step],
            cursor: Cursor {
                machine: 1 << 42,
                stored: 1 << 41,
            },
            rev,
            ..attempt.clone()
        }
    }

    pub(in crate::store) fn shape() -> Shape {
        Shape {
            name: "small".to_owned(),
            vcpus: 2,
            memory_mib: 4_096,
            price_usd_micro_per_hour: Rate::from_micros_per_hour(41_600),
        }
    }

    pub(in crate::store) fn machine(n: u64, state: MachineState) -> Machine {
        Machine {
            id: machine_id(n),
            image: "debian".to_owned(),
            image_version: 1,
            provider: "local".to_owned(),
            shape: Self::shape(),
            zone: "us-east-1a".to_owned(),
            market: Market::Spot,
            asleep_usd_micro_per_hour: Rate::from_micros_per_hour(3),
            launch: Some(launch_id(n)),
            tariff: Some(Tariff {
                rate: Rate::from_micros_per_hour(7),
                from: time(19),
                before: Money::from_micros(-1),
            }),
            project: None,
            launched_for: Some(build_id(n)),
            state,
            since: time(18),
            created_at: time(19),
            builds_done: 3,
            billed_until: time(20),
            billed: Money::from_micros(-42),
            at_most: None,
            billing: Billing {
                quantum: Span::from_secs(3_600),
                minimum: Span::from_secs(60),
            },
            boot: Some(Boot {
                at: time(20),
                took: Span::from_secs(40),
                was_asleep: true,
            }),
            hold: Some(Hold {
                owner: "bob".to_owned(),
                reason: NASTY.to_owned(),
                until: time(21),
            }),
            rev: 0,
        }
    }

    /// One of each state of a machine, by number.
    pub(in crate::store) fn machine_state(n: u64) -> MachineState {
        let instance = InstanceId(format!("i-{n}"));
        let endpoint = Endpoint {
            address: ([127, 0, 0, 1], 2_222).into(),
        };
        let claim = (build_id(n), attempt_id(n));
        match n % 9 {
            0 => MachineState::Intended {
                claims: claim.into(),
            },
            1 => MachineState::Booting {
                instance,
                claims: Claims::default(),
            },
            2 => MachineState::Idle { instance, endpoint },
            3 => MachineState::Busy {
                instance,
                endpoint,
                claims: Claims::from(claim).with((build_id(n + 1), attempt_id(n + 1))),
                ends: Some(Reason::Failed(NASTY.to_owned())),
            },
            6 => MachineState::FallingAsleep {
                instance,
                how: SleepKind::Hibernate,
            },
            7 => MachineState::Asleep { instance },
            8 => MachineState::Waking {
                instance,
                claims: claim.into(),
            },
            4 => MachineState::Draining {
                instance: Some(instance),
                reason: Reason::Failed(NASTY.to_owned()),
            },
            _ => MachineState::Gone {
                reason: Reason::IdleTimeout,
            },
        }
    }

    pub(in crate::store) fn keys(n: u64) -> MachineKeys {
        MachineKeys {
            machine: machine_id(n),
            host_private: Secret::new(format!("host private {NASTY}")),
            host_public: "host public".to_owned(),
            client_private: Secret::new("client private".to_owned()),
            client_public: "client public".to_owned(),
            is_shared: n % 2 == 1,
            next: None,
        }
    }

    pub(in crate::store) fn launch(n: u64) -> Launch {
        Launch {
            id: launch_id(n),
            provider: "us-east-1".to_owned(),
            image: "debian".to_owned(),
            image_version: 3,
            pools: vec![Pool {
                shape: "c7i.large".to_owned(),
                zone: "us-east-1a".to_owned(),
                market: Market::Spot,
            }],
            machines: vec![machine_id(n), machine_id(n + 1)],
            token: format!("token-{n}"),
            request: Secret::new(format!("request {NASTY}")),
            at: time(24),
        }
    }

    pub(in crate::store) fn image(name: &str, version: u32, state: ImageState) -> Image {
        let capabilities = Capabilities::from([
            ("shell".to_owned(), CapabilityValue::Flag(true)),
            (
                "python".to_owned(),
                CapabilityValue::Values(vec!["3.11.9".to_owned(), "3.12.4".to_owned()]),
            ),
        ]);
        let reference = serde_json::json!({
            "disk": "image.qcow2", "nested": [1, -2.5, 1e300, 0.1, null, true, {"": NASTY}],
            "big": u64::MAX,
        });
        Image {
            name: name.to_owned(),
            version,
            state,
            spec: ImageSpec {
                description: NASTY.to_owned(),
                provider: "local".to_owned(),
                reference,
                login: Login {
                    user: "root".to_owned(),
                },
                shapes: vec![Self::shape()],
                wish: Some(ShapeWish {
                    vcpus: Some((2, 8)),
                    exclude: vec![NASTY.to_owned()],
                    ..ShapeWish::default()
                }),
                capabilities,
                ready: Some("true".to_owned()),
                probes: map(1),
                boot_timeout: Span::from_secs(120),
                slots: 3,
                billing: None,
            },
            applied_at: time(22),
            rev: 0,
        }
    }

    pub(in crate::store) fn policy(name: &str, version: u32) -> Policy {
        Policy {
            name: name.to_owned(),
            version,
            spec: PolicySpec {
                images: vec!["debian".to_owned()],
                max_machines: Some(4),
                idle_timeout: Some(crate::model::IdleTimeout::After(Span::from_secs(600))),
                max_lifetime: None,
                max_builds_per_machine: Some(version),
                market: Some(MarketChoice::SpotWithFallback),
                sleep: Some(SleepKind::Stop),
                max_asleep: None,
                asleep_timeout: Some(Span::from_secs(60)),
                ..PolicySpec::default()
            },
            applied_at: time(23),
            rev: 0,
        }
    }

    pub(in crate::store) fn extent(attempt: u64, start: u64, len: u64) -> Extent {
        Extent {
            attempt: attempt_id(attempt),
            start,
            len,
            pack: PackId::from_bits(u128::from(start) << 20),
            frame_start: 17,
            frame_len: 5,
            marks: vec![LineMark {
                offset: start,
                at: time(24),
            }],
        }
    }

    /// An entry of build `n`, or of none if `n` is a multiple of 4.
    pub(in crate::store) fn entry(n: u64, seconds: i64, amount: i64) -> Entry {
        let build = (!n.is_multiple_of(4)).then_some(n);
        let category = [
            Category::Boot,
            Category::Work,
            Category::Retry,
            Category::Idle,
            Category::Drain,
        ][usize::try_from(n % 5).unwrap()];
        Entry {
            machine: machine_id(n),
            image: ["alpine", "debian", "fedora"][usize::try_from(n % 3).unwrap()].to_owned(),
            build: build.map(build_id),
            attempt: build.map(attempt_id),
            pipeline: build.map(|n| pipeline_id(n / 2)),
            project: build.map(|n| Self::project(n / 2)),
            category,
            from: time(seconds),
            to: time(seconds + 5),
            amount: Money::from_micros(amount),
        }
    }

    pub(in crate::store) fn event(n: u64) -> Event {
        let (subject, kind) = match n % 5 {
            0 => (
                Subject::Pipeline(pipeline_id(n)),
                EventKind::PipelineSubmitted,
            ),
            1 => (Subject::Build(build_id(n % 7)), EventKind::BuildCancelAsked),
            2 => (Subject::Machine(machine_id(n)), EventKind::MachineNote),
            3 => (Subject::Image("debian".to_owned()), EventKind::ImageApplied),
            _ => (
                Subject::Policy("debian".to_owned()),
                EventKind::PolicyApplied,
            ),
        };
        Event {
            at: time(i64::try_from(n).unwrap()),
            subject,
            kind,
            message: format!("event {n}: {NASTY}"),
        }
    }

    pub(in crate::store) fn token(n: u64) -> Token {
        Token {
            id: token_id(n),
            name: "ci".to_owned(),
            role: [TokenRole::Reader, TokenRole::Submitter, TokenRole::Admin]
                [usize::try_from(n % 3).unwrap()],
            hash: format!("{n:064x}"),
            created_at: time(25),
            revoked_at: None,
        }
    }
}
