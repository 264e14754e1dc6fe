//! Made-up builds.

use std::sync::Arc;

use dormouse::clock::{Clock, IdSource, SystemClock};
use dormouse::model::{
    AttemptId, Build, BuildId, BuildResult, BuildSpec, BuildState, Endpoint, InstanceId, Machine,
    MachineId, MachineState, Market, Money, PackId, Pipeline, PipelineId, Rate, Record, Shape,
    Span, Step, Timestamp,
};

use super::life::Life;

/// Identities and times for made-up builds.
pub(crate) struct Maker {
    ids: IdSource,
    begin: Timestamp,
}

impl Maker {
    pub(crate) fn new() -> Self {
        Self {
            ids: IdSource::from_seed(7),
            begin: SystemClock.now(),
        }
    }

    /// The `n`th build, its pipeline and its one attempt.
    pub(crate) fn life(&self, n: u32, machine: &Machine) -> Life {
        let at = self.begin + Span::from_millis(u64::from(n) * 10);
        let pipeline = Pipeline {
            id: PipelineId::from_bits(self.ids.bits(at)),
            name: "nightly".to_owned(),
            project: format!("project-{}", n % 7),
            labels: [("team".to_owned(), "core".to_owned())].into(),
            priority: 0,
            submitted_at: at,
            submitted_by: "ci".to_owned(),
            idempotency: Some((format!("key-{}", self.ids.bits(at)), "0".repeat(64))),
            builds: 1,
        };
        let step = |name: &str| Step {
            name: name.to_owned(),
            run: "set -e\n./configure --prefix=/usr\nmake -j2\nmake check\n".to_owned(),
            env: [("PYTHON".to_owned(), "3.12".to_owned())].into(),
            timeout: Some(Span::from_secs(600)),
            continue_on_error: false,
            always: false,
        };
        let spec = BuildSpec {
            pipeline: pipeline.id,
            name: format!("test (3.12, sqlite, {n})"),
            project: pipeline.project.clone(),
            labels: pipeline.labels.clone(),
            priority: 0,
            matrix: [("db".to_owned(), "sqlite".to_owned())].into(),
            requires: [].into(),
            image: None,
            fresh: false,
            deadline: None,
            needs: Vec::new(),
            steps: ["fetch", "compile", "test"].map(step).to_vec(),
            env: [("CI".to_owned(), "true".to_owned())].into(),
            timeout: Span::from_secs(3_600),
            max_attempts: 2,
            log_limit_bytes: 64 << 20,
            submitted_at: at,
        };
        let build = Build {
            id: BuildId::from_bits(self.ids.bits(at)),
            spec: Arc::new(spec),
            state: BuildState::Queued {
                since: at,
                not_before: at,
            },
            attempts: 0,
            spared: 0,
            cancel: None,
            rev: 0,
        };
        Life {
            attempt: AttemptId::from_bits(self.ids.bits(at)),
            pack: PackId::from_bits(self.ids.bits(at)),
            result: match n % 10 {
                0 => BuildResult::Failure,
                1 if n % 100 == 1 => BuildResult::TimedOut,
                _ => BuildResult::Success,
            },
            pipeline,
            build,
            machine: machine.clone(),
            at,
        }
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine {
            id: MachineId::from_bits(self.ids.bits(self.begin)),
            image: "debian".to_owned(),
            image_version: 1,
            provider: "local".to_owned(),
            shape: Shape {
                name: "small".to_owned(),
                vcpus: 2,
                memory_mib: 4_096,
                price_usd_micro_per_hour: Rate::from_micros_per_hour(41_600),
            },
            zone: String::new(),
            market: Market::OnDemand,
            asleep_usd_micro_per_hour: Rate::default(),
            launch: None,
            tariff: None,
            project: None,
            at_most: None,
            billing: dormouse::model::Billing::default(),
            boot: None,
            launched_for: None,
            state: MachineState::Idle {
                instance: InstanceId("i-1".to_owned()),
                endpoint: Endpoint {
                    address: ([127, 0, 0, 1], 22).into(),
                },
            },
            since: self.begin,
            created_at: self.begin,
            builds_done: 0,
            billed_until: self.begin,
            billed: Money::ZERO,
            hold: None,
            record: Record::default(),
            rev: 0,
        }
    }
}
