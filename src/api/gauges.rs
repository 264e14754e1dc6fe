//! Numbers for `/metrics` that are derived from the state at the moment of asking. Labels are words
//! of the model, so their number is bounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::error::ApiError;
use super::state::ApiState;
use super::view::{BuildStateWord, MachineStateWord};
use crate::model::{Category, Money, Span, Timestamp};
use crate::store::{CostGroup, Tally};

/// How things stand.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    ready: bool,
    builds: Tally,
    machines: BTreeMap<&'static str, u32>,
    spend_today: BTreeMap<Category, Money>,
    last_event: u64,
}

/// Asks how things stand.
pub(super) async fn derive(state: &ApiState) -> Result<Gauges, ApiError> {
    let mut machines = BTreeMap::new();
    for machine in state.desk.machines().await? {
        *machines.entry(machine.state.word()).or_default() += 1;
    }
    Ok(Gauges {
        ready: state.desk.is_ready(),
        builds: state.store.open_builds().await?,
        machines,
        spend_today: spend_today(state).await?,
        last_event: state.store.last_event().await?,
    })
}

/// What this day in UTC cost so far, by category.
async fn spend_today(state: &ApiState) -> Result<BTreeMap<Category, Money>, ApiError> {
    const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
    let now = state.clock.now();
    let midnight = Timestamp::from_micros(now.micros() - now.micros().rem_euclid(DAY_MICROS));
    let end = now + Span::from_micros(1);
    let days = state.store.costs(CostGroup::Day, midnight, end, 1).await?;
    Ok(days
        .into_iter()
        .next()
        .map(|day| day.by_category)
        .unwrap_or_default())
}

/// States in which a build waits for a machine.
const QUEUE: BuildStateWord = BuildStateWord::Queued;

/// States of builds that are not over.
const OPEN_BUILDS: [BuildStateWord; 4] = [
    BuildStateWord::Waiting,
    BuildStateWord::Queued,
    BuildStateWord::Bound,
    BuildStateWord::Running,
];

/// States of machines that are not gone.
const LIVE_MACHINES: [MachineStateWord; 5] = [
    MachineStateWord::Intended,
    MachineStateWord::Booting,
    MachineStateWord::Idle,
    MachineStateWord::Busy,
    MachineStateWord::Draining,
];

/// All categories of money.
const CATEGORIES: [Category; 5] = [
    Category::Boot,
    Category::Work,
    Category::Retry,
    Category::Idle,
    Category::Drain,
];

impl Gauges {
    /// Appends them in the text format of Prometheus. Every label value is always there, so that a
    /// state which emptied shows as 0 and does not go stale.
    pub(super) fn write_to(&self, text: &mut String) {
        let builds = |word: BuildStateWord| self.builds.get(word.word()).copied().unwrap_or(0);
        gauge(
            text,
            "dormouse_ready",
            "Whether the engine has loaded its state",
            [(None, u64::from(self.ready))],
        );
        gauge(
            text,
            "dormouse_builds",
            "Builds that are not over, by state",
            OPEN_BUILDS.map(|word| (Some(("state", word.word())), builds(word))),
        );
        gauge(
            text,
            "dormouse_queue_length",
            "Builds that wait for a machine",
            [(None, builds(QUEUE))],
        );
        gauge(
            text,
            "dormouse_machines",
            "Machines that are not gone, by state",
            LIVE_MACHINES.map(|word| {
                let count = self.machines.get(word.word()).copied().unwrap_or(0);
                (Some(("state", word.word())), count)
            }),
        );
        gauge(
            text,
            "dormouse_spend_today_micro_usd",
            "Money in the ledger for this day in UTC, in micro-dollars, by category",
            CATEGORIES.map(|category| {
                let money = self.spend_today.get(&category).copied().unwrap_or_default();
                (Some(("category", category.word())), money.micros())
            }),
        );
        gauge(
            text,
            "dormouse_last_event",
            "Number of the newest event",
            [(None, self.last_event)],
        );
    }
}

/// One gauge with its values.
fn gauge<const N: usize, V: std::fmt::Display>(
    text: &mut String,
    name: &str,
    help: &str,
    values: [(Option<(&str, &str)>, V); N],
) {
    // Writing to a String never fails.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (label, value) in values {
        let _ = match label {
            Some((key, word)) => writeln!(text, "{name}{{{key}=\"{word}\"}} {value}"),
            None => writeln!(text, "{name} {value}"),
        };
    }
}

/// Describes what the API records through the `metrics` crate; call it once a recorder is installed.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "dormouse_http_requests_total",
        "Requests answered, by route, method and status"
    );
    metrics::describe_histogram!(
        "dormouse_http_request_seconds",
        metrics::Unit::Seconds,
        "Time from a request's head to its answer's head, by route"
    );
    metrics::describe_gauge!("dormouse_http_streams", "Event streams that are open");
}
