//! Builds to run, and what became of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use dormouse::model::{AttemptId, BuildSpec, PipelineId, Requirements, Span, Step, Timestamp};
use dormouse::remote::{Run, RunEvent};

/// Longer than anything here takes on a busy host.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A step that runs `run`.
pub(crate) fn step(run: &str) -> Step {
    Step {
        name: "step".to_owned(),
        run: run.to_owned(),
        env: BTreeMap::new(),
        timeout: None,
        continue_on_error: false,
        always: false,
    }
}

/// A build of these steps.
pub(crate) fn build(steps: Vec<Step>) -> Arc<BuildSpec> {
    build_with(steps, BTreeMap::new())
}

pub(crate) fn build_with(steps: Vec<Step>, env: BTreeMap<String, String>) -> Arc<BuildSpec> {
    Arc::new(BuildSpec {
        pipeline: PipelineId::from_bits(1),
        name: "it's a (build)".to_owned(),
        project: "tests".to_owned(),
        labels: BTreeMap::new(),
        priority: 0,
        matrix: BTreeMap::new(),
        requires: Requirements::default(),
        image: None,
        fresh: false,
        deadline: None,
        needs: Vec::new(),
        steps,
        env,
        timeout: Span::from_secs(60),
        max_attempts: 1,
        log_limit_bytes: u64::MAX,
        submitted_at: Timestamp::default(),
    })
}

/// An attempt that no other test has.
pub(crate) fn attempt() -> AttemptId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    AttemptId::from_bits((now.as_nanos() << 16) + u128::from(count))
}

/// All that a run told.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Output of all steps.
    pub(crate) log: Vec<u8>,
    /// Steps with their codes; `None` for one that did not end.
    pub(crate) steps: Vec<(u32, Option<i32>)>,
    /// Offset behind the last event.
    pub(crate) machine: u64,
    /// The last event.
    pub(crate) end: Option<RunEvent>,
}

impl Told {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.log).into_owned()
    }

    pub(crate) fn code(&self) -> Option<i32> {
        match self.end {
            Some(RunEvent::Done { code, .. }) => Some(code),
            _ => None,
        }
    }

    /// Takes in one event; whether it was the last.
    pub(crate) fn take(&mut self, event: RunEvent) -> bool {
        match event {
            RunEvent::StepBegan { index, machine } => {
                self.steps.push((index, None));
                self.move_to(machine);
            }
            RunEvent::StepEnded {
                index,
                code,
                machine,
            } => {
                assert_eq!(self.steps.last(), Some(&(index, None)));
                *self.steps.last_mut().unwrap() = (index, Some(code));
                self.move_to(machine);
            }
            RunEvent::Log { bytes, machine } => {
                assert!(!bytes.is_empty());
                assert!(machine >= self.machine + bytes.len() as u64);
                self.log.extend_from_slice(&bytes);
                self.move_to(machine);
            }
            end @ (RunEvent::Done { .. }
            | RunEvent::Lost { .. }
            | RunEvent::Disconnected { .. }) => {
                self.end = Some(end);
                return true;
            }
        }
        false
    }

    fn move_to(&mut self, machine: u64) {
        assert!(machine > self.machine, "{machine} after {}", self.machine);
        self.machine = machine;
    }

    /// Reads `run` until `enough` is told, or its end.
    pub(crate) async fn read_until(&mut self, run: &mut Run, enough: impl Fn(&Self) -> bool) {
        let reading = async {
            while !enough(self) {
                let event = run.events.recv().await.expect("a run has a last event");
                if self.take(event) {
                    break;
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reading).await.is_ok();
        let (length, steps) = (self.log.len(), &self.steps);
        assert!(in_time, "nothing after {length} bytes: {steps:?}");
    }
}

/// Reads a run to its end.
pub(crate) async fn read(mut run: Run) -> Told {
    let mut told = Told::default();
    told.read_until(&mut run, |_| false).await;
    assert!(
        run.events.recv().await.is_none(),
        "nothing comes after the last event"
    );
    told
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process has ended; one that nobody has collected yet has.
pub(crate) fn is_gone(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| {
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('Z'))
    })
}
