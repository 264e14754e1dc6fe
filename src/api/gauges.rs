//! Numbers for `/metrics` that are derived from the state at the moment of asking. Labels are words
//! of the model and names of what is declared, so their number is bounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::error::ApiError;
use super::state::ApiState;
use super::view::{BuildStateWord, MachineStateWord};
use crate::books::BudgetReport;
use crate::engine::DeskError;
use crate::model::{BudgetPart, Category, Money, Span, Timestamp};
use crate::store::{CostGroup, Tally};

/// How things stand.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    ready: bool,
    builds: Tally,
    /// None while the engine loads its state.
    machines: Option<BTreeMap<&'static str, u32>>,
    /// None while the engine loads its state.
    budgets: Option<Vec<BudgetReport>>,
    spend_today: BTreeMap<Category, Money>,
    last_event: u64,
}

/// Asks how things stand.
pub(super) async fn derive(state: &ApiState) -> Result<Gauges, ApiError> {
    let machines = if_open(state.desk.machines().await)?.map(|machines| {
        let mut by_state = BTreeMap::new();
        for machine in machines {
            *by_state.entry(machine.state.word()).or_default() += 1;
        }
        by_state
    });
    Ok(Gauges {
        ready: state.desk.is_ready(),
        builds: state.store.open_builds().await?,
        machines,
        budgets: if_open(state.desk.budgets_now().await)?,
        spend_today: spend_today(state).await?,
        last_event: state.store.last_event().await?,
    })
}

/// What the desk says, if it says anything now: a scrape must not fail because the engine loads its
/// state, which is one of the things that it is for.
fn if_open<T>(answer: Result<T, DeskError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(DeskError::Busy(_)) => Ok(None),
        Err(
            error @ (DeskError::Invalid(_)
            | DeskError::NotFound { .. }
            | DeskError::Conflict(_)
            | DeskError::Refused(_)
            | DeskError::Store(_)),
        ) => Err(error.into()),
    }
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
const LIVE_MACHINES: [MachineStateWord; 8] = [
    MachineStateWord::Intended,
    MachineStateWord::Booting,
    MachineStateWord::Idle,
    MachineStateWord::Busy,
    MachineStateWord::FallingAsleep,
    MachineStateWord::Asleep,
    MachineStateWord::Waking,
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
    /// state which emptied shows as 0 and does not go stale. What is not known while the engine loads
    /// its state is left out rather than shown as 0.
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
        if let Some(machines) = &self.machines {
            gauge(
                text,
                "dormouse_machines",
                "Machines that are not gone, by state",
                LIVE_MACHINES.map(|word| {
                    let count = machines.get(word.word()).copied().unwrap_or(0);
                    (Some(("state", word.word())), count)
                }),
            );
        }
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
        write_budgets(text, self.budgets.as_deref().unwrap_or_default());
    }
}

/// How budgets stand in their present windows, in dollars.
///
/// Amounts of single builds and pipelines are not among them: each of those would be series of its
/// own, without a bound to their number.
fn write_budgets(text: &mut String, reports: &[BudgetReport]) {
    /// One gauge: its name, what it says, and where its value is.
    type Of = (&'static str, &'static str, fn(&BudgetReport) -> Money);
    let gauges: [Of; 3] = [
        (
            "dormouse_budget_limit_dollars",
            "Amount of a budget for its present window, with what was approved and rolled over",
            |report| report.total,
        ),
        (
            "dormouse_budget_spent_dollars",
            "Money spent of a budget in its present window, time not yet billed included",
            |report| report.spent,
        ),
        (
            "dormouse_budget_committed_dollars",
            "Money of a budget that running machines may still cost at worst",
            |report| report.committed,
        ),
    ];
    let labeled = reports.iter().filter_map(|r| Some((budget_labels(r)?, r)));
    let labeled: Vec<(String, &BudgetReport)> = labeled.collect();
    for (name, help, value) in gauges.iter().filter(|_| !labeled.is_empty()) {
        // Writing to a String never fails.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, report) in &labeled {
            let _ = writeln!(text, "{name}{{{labels}}} {}", dollars(value(report)));
        }
    }
}

/// Which budget, for what, in which time; none for one of a single build or pipeline.
fn budget_labels(report: &BudgetReport) -> Option<String> {
    let (scope, part) = match &report.part {
        BudgetPart::All => ("all", ""),
        BudgetPart::Project(name) => ("project", name.as_str()),
        BudgetPart::Image(name) => ("image", name.as_str()),
        BudgetPart::Pipeline(_) | BudgetPart::Build(_) => return None,
    };
    let labels = [
        ("policy", report.policy.as_str()),
        ("budget", &report.budget),
        ("scope", scope),
        ("part", part),
        ("window", report.per.word()),
    ];
    let labels = labels.map(|(key, value)| format!("{key}=\"{}\"", escaped(value)));
    Some(labels.join(","))
}

/// A label's value as the text format wants it.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

/// An amount as a plain number of dollars, exact.
fn dollars(money: Money) -> String {
    money.to_string().replace('$', "")
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
