//! Policy files: what the operator wants. The format is described in `docs/policies.md`.

use super::document::{DocumentLimits, Field, Problem, Problems, Table, load, unknown};
use super::text::{read_name, required_name};
use crate::model::{IdleTimeout, MarketChoice, PolicySpec, SleepKind, Span};

/// Longest time a policy may speak of; longer is as good as never, which is to leave it out.
const MOST_SPAN: Span = Span::from_secs(365 * 24 * 3_600);

/// Shortest lifetime that lets a machine do anything.
const LEAST_LIFETIME: Span = Span::from_secs(1);

/// Most machines and builds a policy may speak of; leave it out for no limit.
const MOST_COUNT: u32 = 1_000_000;

/// Reads a policy file: its name and what it says.
///
/// # Errors
/// Every problem of the file.
pub fn parse_policy(text: &str) -> Result<(String, PolicySpec), Vec<Problem>> {
    const KEYS: [&str; 6] = ["name", "images", "limits", "market", "idle", "reuse"];
    let document = load(text, &DocumentLimits::default())?;
    let mut problems = Problems::default();
    let table = Field::root(&document.root).table(&KEYS, &mut problems);
    let policy = table.and_then(|table| read_policy(&table, &mut problems));
    problems.finish(policy)
}

fn read_policy(table: &Table<'_>, problems: &mut Problems) -> Option<(String, PolicySpec)> {
    let name = required_name("a policy", "name", table, problems);
    let images = table
        .get("images")
        .map(|field| read_images(field, problems));
    let mut spec = PolicySpec {
        images: images.unwrap_or_default(),
        ..PolicySpec::default()
    };
    if let Some(limits) = subtable("limits", &["machines"], table, problems) {
        // None at all is a way to pause.
        spec.max_machines = read_count("machines", 0, &limits, problems);
    }
    spec.market = table
        .get("market")
        .and_then(|field| read_market(field, problems));
    if let Some(idle) = subtable("idle", &["timeout", "then", "asleep"], table, problems) {
        read_idle(&idle, &mut spec, problems);
    }
    if let Some(reuse) = subtable("reuse", &["builds", "lifetime", "slots"], table, problems) {
        spec.max_builds_per_machine = read_count("builds", 1, &reuse, problems);
        spec.slots = read_count("slots", 1, &reuse, problems);
        spec.max_lifetime = read_span("lifetime", LEAST_LIFETIME, &reuse, problems);
    }
    Some((name?, spec))
}

fn read_idle(idle: &Table<'_>, spec: &mut PolicySpec, problems: &mut Problems) {
    // No time at all: a machine goes as soon as it has nothing to do.
    spec.idle_timeout = read_span("timeout", Span::ZERO, idle, problems).map(IdleTimeout::After);
    spec.sleep = idle
        .get("then")
        .and_then(|field| read_then(field, problems));
    if let Some(asleep) = subtable("asleep", &["machines", "timeout"], idle, problems) {
        // None asleep, or for no time: a way to switch it off without saying `end`.
        spec.max_asleep = read_count("machines", 0, &asleep, problems);
        spec.asleep_timeout = read_span("timeout", Span::ZERO, &asleep, problems);
        if let (Some(SleepKind::Never), Some(field)) = (spec.sleep, idle.get("asleep")) {
            field.refuse(
                problems,
                "machines that are ended are never asleep; expected `then: stop` or `then: hibernate`",
            );
        }
    }
}

fn read_market(field: &Field<'_>, problems: &mut Problems) -> Option<MarketChoice> {
    let choices = [
        MarketChoice::OnDemand,
        MarketChoice::Spot,
        MarketChoice::SpotWithFallback,
    ];
    read_choice(
        "market",
        choices.map(|choice| (choice.word(), choice)),
        field,
        problems,
    )
}

/// What becomes of a machine that stood idle for long enough.
fn read_then(field: &Field<'_>, problems: &mut Problems) -> Option<SleepKind> {
    let choices = [
        ("end", SleepKind::Never),
        ("stop", SleepKind::Stop),
        ("hibernate", SleepKind::Hibernate),
    ];
    read_choice("choice", choices, field, problems)
}

/// Reads one of a few words.
fn read_choice<T, const N: usize>(
    what: &str,
    choices: [(&str, T); N],
    field: &Field<'_>,
    problems: &mut Problems,
) -> Option<T> {
    let text = field.text(problems)?;
    let words = choices.each_ref().map(|(word, _)| *word);
    let choice = choices.into_iter().find(|(word, _)| *word == text);
    if choice.is_none() {
        field.refuse(problems, unknown(what, text, &words));
    }
    choice.map(|(_, value)| value)
}

fn subtable<'d>(
    key: &str,
    known: &[&str],
    table: &Table<'d>,
    problems: &mut Problems,
) -> Option<Table<'d>> {
    table.get(key)?.table(known, problems)
}

fn read_count(key: &str, least: u32, table: &Table<'_>, problems: &mut Problems) -> Option<u32> {
    table.get(key)?.integer(least..=MOST_COUNT, problems)
}

fn read_span(key: &str, least: Span, table: &Table<'_>, problems: &mut Problems) -> Option<Span> {
    table.get(key)?.parse_within(least..=MOST_SPAN, problems)
}

fn read_images(field: &Field<'_>, problems: &mut Problems) -> Vec<String> {
    let items = field.list(problems).unwrap_or_default();
    let names = items
        .iter()
        .filter_map(|item| read_name("an image", item, problems));
    names.collect()
}
