//! What policies say, in the words of policy files.
//!
//! The format is that of `docs/policies.md`, which `spec` reads: what is written here and read there
//! is the same spec again. Callers: `api` and `cli` show it; a search for knobs prints its finding.

use std::fmt::Write as _;

use crate::model::{
    Budget, IdleTimeout, Money, OnDemandWhen, Period, PolicySpec, Rate, RestAt, SleepKind, Span,
    Warm, WarmWindow,
};

use super::terms::{Effective, Source, Terms};

/// A key of a policy file with its value as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The path of the key: `idle.timeout`.
    pub key: &'static str,
    /// Its value, on one line; an item of it where it is a list of maps.
    pub value: String,
}

/// Everything that a policy says, in the order of the documentation: lists of maps item by item.
pub fn said(spec: &PolicySpec) -> Vec<Said> {
    let said = |(key, value): (&'static str, Written)| {
        let values = match value {
            Written::Whole(value) => vec![value],
            Written::Items(items) => items,
        };
        values.into_iter().map(move |value| Said { key, value })
    };
    written(spec).into_iter().flat_map(said).collect()
}

/// The limits and budgets among it.
pub fn bounds(spec: &PolicySpec) -> Vec<Said> {
    let mut said = said(spec);
    said.retain(|said| is_of(said.key, "limits") || is_of(said.key, "budgets"));
    said
}

/// A value as it stands in a file.
enum Written {
    /// On one line.
    Whole(String),
    /// A list, an item a line.
    Items(Vec<String>),
}

fn written(spec: &PolicySpec) -> Vec<(&'static str, Written)> {
    let mut found = Found::default();
    found.selectors(spec);
    found.limits(spec);
    found.idle(spec);
    if let Some(warm) = &spec.warm {
        found.warm(warm);
    }
    found.machines(spec);
    found.rows
}

/// A policy as a file.
pub fn document(name: &str, spec: &PolicySpec) -> String {
    let mut text = format!("name: {}\n", scalar(name));
    let mut open: Vec<&str> = Vec::new();
    for (key, value) in written(spec) {
        let mut path: Vec<&str> = key.split('.').collect();
        let last = path.pop().unwrap_or_default();
        let shared = open.iter().zip(&path).take_while(|(a, b)| a == b).count();
        for (depth, key) in path.iter().enumerate().skip(shared) {
            let gap = if depth == 0 { "\n" } else { "" };
            let _ = writeln!(text, "{gap}{}{key}:", indent(depth));
        }
        if path.is_empty() {
            text.push('\n');
        }
        let depth = path.len();
        match value {
            Written::Whole(value) => {
                let _ = writeln!(text, "{}{last}: {value}", indent(depth));
            }
            Written::Items(items) => {
                let _ = writeln!(text, "{}{last}:", indent(depth));
                for item in items {
                    let _ = writeln!(text, "{}- {item}", indent(depth + 1));
                }
            }
        }
        open = path;
    }
    text
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

/// A knob's value with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The path of the key in policy files.
    pub key: &'static str,
    /// Its value as it would stand there; none for no limit, or nothing.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// What holds, knob by knob, in the order of the documentation.
pub fn rows(effective: &Effective) -> Vec<Row> {
    let said = said(&effective.terms.as_spec());
    let mut rows: Vec<Row> = Vec::new();
    for (knob, source) in &effective.sources {
        let mut row = |key, value| {
            rows.push(Row {
                key,
                value,
                source: source.clone(),
            });
        };
        let before = |said: &&Said| is_of(said.key, knob.0) && said.value != NOTHING;
        let mut values = said.iter().filter(before).peekable();
        if values.peek().is_none() {
            row(knob.0, None);
        }
        for said in values {
            row(said.key, Some(said.value.clone()));
        }
    }
    rows.sort_by_key(|row| KNOBS.iter().position(|knob| is_of(row.key, knob)));
    rows
}

/// Whether a key is the knob, or a part of it.
pub(super) fn is_of(key: &str, knob: &str) -> bool {
    key.strip_prefix(knob)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The knobs in the order of the documentation.
pub(super) const KNOBS: [&str; 16] = [
    "market.buy",
    "market.on_demand",
    "idle.timeout",
    "idle.value_of_wait",
    "idle.then",
    "idle.asleep.machines",
    "idle.asleep.timeout",
    "warm",
    "reuse.by",
    "reuse.builds",
    "reuse.lifetime",
    "reuse.slots",
    "reuse.rest_at",
    "share.weight",
    "share.superseded",
    "health.quarantine",
];

impl Terms {
    /// The policy that says all of it.
    fn as_spec(&self) -> PolicySpec {
        PolicySpec {
            idle_timeout: Some(self.idle_timeout),
            value_of_wait: Some(self.value_of_wait),
            sleep: Some(self.sleep),
            max_asleep: Some(self.max_asleep),
            asleep_timeout: Some(self.asleep_timeout),
            warm: Some(self.warm.clone()),
            market: Some(self.market),
            on_demand: Some(self.on_demand),
            reuse: Some(self.reuse),
            max_lifetime: Some(self.max_lifetime),
            // The built-in value is no limit, which a file says by leaving the key out.
            max_builds_per_machine: Some(self.max_builds).filter(|builds| *builds != u32::MAX),
            slots: Some(self.slots),
            rest_at: Some(self.rest_at),
            weight: Some(self.weight),
            superseded: Some(self.superseded),
            quarantine: Some(self.quarantine),
            ..PolicySpec::default()
        }
    }
}

#[derive(Default)]
struct Found {
    rows: Vec<(&'static str, Written)>,
}

impl Found {
    fn say(&mut self, key: &'static str, value: impl Into<String>) {
        self.rows.push((key, Written::Whole(value.into())));
    }

    fn maybe<T>(&mut self, key: &'static str, value: Option<T>, text: impl Fn(T) -> String) {
        if let Some(value) = value {
            self.say(key, text(value));
        }
    }

    fn list(&mut self, key: &'static str, items: Vec<String>) {
        if !items.is_empty() {
            self.rows.push((key, Written::Items(items)));
        }
    }

    fn selectors(&mut self, spec: &PolicySpec) {
        let names = |names: &[String]| {
            let names: Vec<String> = names.iter().map(|name| scalar(name)).collect();
            (!names.is_empty()).then(|| format!("[{}]", names.join(", ")))
        };
        self.maybe("select.projects", names(&spec.projects), |text| text);
        self.maybe("select.images", names(&spec.images), |text| text);
        self.maybe("select.providers", names(&spec.providers), |text| text);
        if !spec.labels.is_empty() {
            let label = |(key, value): (&String, &String)| (key.clone(), scalar(value));
            self.say("select.labels", map(spec.labels.iter().map(label)));
        }
        self.maybe("select.priority", spec.priority, priority);
    }

    fn limits(&mut self, spec: &PolicySpec) {
        let number = |number: u32| number.to_string();
        self.maybe("limits.machines", spec.max_machines, number);
        self.maybe("limits.vcpus", spec.max_vcpus, number);
        self.maybe("limits.builds", spec.max_builds, number);
        let launches = spec.max_launches_per_hour;
        self.maybe("limits.launches_per_hour", launches, number);
        self.maybe("limits.cost_per_hour", spec.max_cost_per_hour, rate);
        self.list("budgets", spec.budgets.iter().map(budget).collect());
        self.maybe("market.buy", spec.market, |market| market.word().to_owned());
        self.maybe("market.on_demand", spec.on_demand, on_demand);
    }

    fn idle(&mut self, spec: &PolicySpec) {
        self.maybe("idle.timeout", spec.idle_timeout, |timeout| match timeout {
            IdleTimeout::Auto => "auto".to_owned(),
            IdleTimeout::After(after) => span(after),
        });
        self.maybe("idle.value_of_wait", spec.value_of_wait, rate);
        self.maybe("idle.then", spec.sleep, |sleep| match sleep {
            SleepKind::Never => "end".to_owned(),
            SleepKind::Stop | SleepKind::Hibernate => sleep.word().to_owned(),
        });
        let asleep = spec.max_asleep;
        self.maybe("idle.asleep.machines", asleep, |most| most.to_string());
        self.maybe("idle.asleep.timeout", spec.asleep_timeout, span);
    }

    fn warm(&mut self, warm: &Warm) {
        if *warm == Warm::default() {
            self.say("warm", NOTHING);
        }
        self.list("warm.windows", warm.windows.iter().map(window).collect());
        if warm.forecast {
            self.say("warm.forecast", "true");
        }
        let per_day = |amount| format!("{}/day", money(amount));
        self.maybe("warm.cost", warm.max_cost_per_day, per_day);
        self.maybe("warm.max_age", warm.max_age, span);
    }

    fn machines(&mut self, spec: &PolicySpec) {
        self.maybe("reuse.by", spec.reuse, |reuse| reuse.word().to_owned());
        let builds = spec.max_builds_per_machine;
        self.maybe("reuse.builds", builds, |builds| builds.to_string());
        self.maybe("reuse.lifetime", spec.max_lifetime, span);
        self.maybe("reuse.slots", spec.slots, |slots| slots.to_string());
        self.maybe("reuse.rest_at", spec.rest_at, rest_at);
        self.maybe("share.weight", spec.weight, |weight| weight.to_string());
        self.maybe("share.superseded", spec.superseded, |superseded| {
            superseded.word().to_owned()
        });
        self.maybe("health.quarantine", spec.quarantine, |quarantine| {
            format!("{{failures: {}}}", quarantine.failures)
        });
    }
}

/// A map that says nothing, and so overrides what others say.
const NOTHING: &str = "{}";

fn map<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, String)>) -> String {
    let entry = |(key, value): (K, String)| format!("{}: {value}", scalar(key.as_ref()));
    let entries: Vec<String> = entries.into_iter().map(entry).collect();
    format!("{{{}}}", entries.join(", "))
}

/// A text as YAML reads it back, in quotes where it would be something else without.
fn scalar(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '/');
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(safe)
        && !matches!(text, "null" | "Null" | "NULL");
    if is_plain {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

fn priority((least, most): (i32, i32)) -> String {
    let text = match (least, most) {
        (i32::MIN, i32::MAX) => "..".to_owned(),
        (least, i32::MAX) => format!(">={least}"),
        (i32::MIN, most) => format!("<={most}"),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least}..{most}"),
    };
    scalar(&text)
}

fn span(span: Span) -> String {
    span.to_string()
}

/// `$500`, `$0.50`, `$0.0416`: all digits that matter, and none or two behind the point at least.
fn money(money: Money) -> String {
    let sign = if money.micros() < 0 { "-" } else { "" };
    format!("{sign}{}", dollars(money.micros().unsigned_abs()))
}

fn rate(rate: Rate) -> String {
    format!("{}/h", dollars(rate.micros_per_hour()))
}

fn dollars(micros: u64) -> String {
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if fraction == 0 {
        return format!("${whole}");
    }
    let digits = format!("{fraction:06}");
    let digits = digits.trim_end_matches('0');
    format!("${whole}.{digits:0<2}")
}

fn budget(budget: &Budget) -> String {
    let mut entries = vec![
        ("name", scalar(&budget.name)),
        ("amount", money(budget.amount)),
        ("per", budget.per.word().to_owned()),
    ];
    if budget.per != Period::Life {
        entries.push(("time_zone", scalar(&budget.time_zone)));
    }
    entries.push(("each", budget.each.word().to_owned()));
    entries.push(("warn_at", percent(budget.warn_at_percent)));
    entries.push(("at_limit", budget.at_limit.word().to_owned()));
    if budget.roll_over != Money::ZERO {
        entries.push(("roll_over", money(budget.roll_over)));
    }
    map(entries)
}

fn percent(percent: u32) -> String {
    format!("{percent}%")
}

fn on_demand(when: OnDemandWhen) -> String {
    let entries = [
        ("longer_than", when.longer_than.map(span)),
        ("deadline_within", when.deadline_within.map(span)),
        ("risk_above", when.risk_above_percent.map(percent)),
    ];
    map(entries
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?))))
}

fn rest_at(rest: RestAt) -> String {
    map([
        ("disk", percent(rest.disk_percent)),
        ("inodes", percent(rest.inodes_percent)),
        ("memory", percent(rest.memory_percent)),
    ])
}

fn window(window: &WarmWindow) -> String {
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let hours = format!("{}-{}", time(window.from_minute), time(window.to_minute));
    map([
        ("days", days(window.days)),
        ("hours", scalar(&hours)),
        ("time_zone", scalar(&window.time_zone)),
        ("running", window.running.to_string()),
        ("asleep", window.asleep.to_string()),
    ])
}

/// `mon-fri`, `sat`, or `[mon, wed]`.
fn days(days: [bool; 7]) -> String {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let chosen: Vec<usize> = (0..7)
        .zip(days)
        .filter_map(|(day, is_in)| is_in.then_some(day))
        .collect();
    let name = |day: &usize| NAMES.get(*day).copied().unwrap_or_default();
    match chosen.as_slice() {
        [only] => name(only).to_owned(),
        [first, .., last] if last - first + 1 == chosen.len() => {
            format!("{}-{}", name(first), name(last))
        }
        chosen => {
            let names: Vec<&str> = chosen.iter().map(name).collect();
            format!("[{}]", names.join(", "))
        }
    }
}
