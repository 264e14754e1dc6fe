//! `warm`: machines to be at hand before anybody asks.

use std::str::FromStr;

use super::super::document::{Field, Problems, Table, unknown};
use super::read::{read_count, read_parsed, read_span, read_time_zone, subtable};
use crate::model::{Money, PolicySpec, SleepKind, Span, Warm, WarmWindow};

/// Days as policy files name them, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Most windows of a policy: one an hour of a week, and then some.
const MOST_WINDOWS: usize = 200;

/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

/// Shortest age at which spares are replaced; below it they would be replaced all the time.
const LEAST_AGE: Span = Span::from_secs(60);

pub(super) fn read_warm(table: &Table<'_>, spec: &mut PolicySpec, problems: &mut Problems) {
    const KEYS: [&str; 4] = ["windows", "forecast", "cost", "max_age"];
    let Some(warm) = subtable("warm", &KEYS, table, problems) else {
        return;
    };
    let windows = warm
        .get("windows")
        .map(|field| read_windows(field, spec, problems));
    let cost: Option<CostPerDay> = read_parsed("cost", &warm, problems);
    let forecast = warm.get("forecast").and_then(|field| field.flag(problems));
    spec.warm = Some(Warm {
        windows: windows.unwrap_or_default(),
        forecast: forecast.unwrap_or(false),
        max_cost_per_day: cost.map(|CostPerDay(money)| money),
        max_age: read_span("max_age", LEAST_AGE, &warm, problems),
    });
}

/// An amount per day: `$2/day`, `$2`.
struct CostPerDay(Money);

impl FromStr for CostPerDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let amount = text.trim();
        let amount = amount.strip_suffix("/day").unwrap_or(amount);
        amount.parse().map(Self).map_err(|_| {
            let text = super::super::document::quoted(text);
            format!("{text} is no cost per day (expected dollars with at most six decimals, as in $2/day)")
        })
    }
}

fn read_windows(field: &Field<'_>, spec: &PolicySpec, problems: &mut Problems) -> Vec<WarmWindow> {
    let items = field.list(problems).unwrap_or_default();
    if items.len() > MOST_WINDOWS {
        let message = format!(
            "{} windows; at most {MOST_WINDOWS} are accepted",
            items.len()
        );
        field.refuse(problems, message);
    }
    let windows = items
        .iter()
        .filter_map(|item| read_window(item, spec, problems));
    windows.collect()
}

fn read_window(
    field: &Field<'_>,
    spec: &PolicySpec,
    problems: &mut Problems,
) -> Option<WarmWindow> {
    const KEYS: [&str; 5] = ["days", "hours", "time_zone", "running", "asleep"];
    let table = field.table(&KEYS, problems)?;
    let days = table
        .get("days")
        .map_or(Some([true; 7]), |field| read_days(field, problems));
    let hours = table
        .get("hours")
        .map_or(Some((0, DAY_MINUTES)), |field| read_hours(field, problems));
    let time_zone = read_time_zone(&table, problems);
    let running = read_count("running", 0, &table, problems);
    let asleep = read_count("asleep", 0, &table, problems);
    if table.get("running").is_none() && table.get("asleep").is_none() {
        field.refuse(
            problems,
            "nothing is to be at hand; expected `running` or `asleep` with a number of machines",
        );
    }
    let (from_minute, to_minute) = hours?;
    let window = WarmWindow {
        days: days?,
        from_minute,
        to_minute,
        time_zone: time_zone?,
        running: running.unwrap_or(0),
        asleep: asleep.unwrap_or(0),
    };
    check_floors(&window, &table, field, spec, problems);
    Some(window)
}

/// Floors that the same policy makes impossible.
fn check_floors(
    window: &WarmWindow,
    table: &Table<'_>,
    field: &Field<'_>,
    spec: &PolicySpec,
    problems: &mut Problems,
) {
    let all = u64::from(window.running) + u64::from(window.asleep);
    if let Some(most) = spec.max_machines.filter(|most| all > u64::from(*most)) {
        let message =
            format!("{all} machines are to be at hand, but `limits` allows {most} in all");
        field.refuse(problems, message);
    }
    let Some(asleep) = table.get("asleep").filter(|_| window.asleep > 0) else {
        return;
    };
    if spec.sleep == Some(SleepKind::Never) {
        asleep.refuse(
            problems,
            "idle machines are ended, so that none is ever asleep; expected `idle: {then: stop}` or \
             `idle: {then: hibernate}`",
        );
    } else if let Some(most) = spec.max_asleep.filter(|most| window.asleep > *most) {
        let message = format!(
            "{} machines are to be asleep, but `idle.asleep` allows {most}",
            window.asleep
        );
        asleep.refuse(problems, message);
    }
}

/// Days: one, a range, or a list of either.
fn read_days(field: &Field<'_>, problems: &mut Problems) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    let items = field.one_or_more();
    if items.is_empty() {
        field.expected(problems, "at least one day, as in mon-fri or [mon, wed]");
        return None;
    }
    let mut is_read = true;
    for item in &items {
        let Some((first, last)) = read_range(item, problems) else {
            is_read = false;
            continue;
        };
        // `sat-mon` goes over the end of the week.
        let length = (last + 7 - first) % 7;
        for (day, chosen) in days.iter_mut().enumerate() {
            *chosen |= (day + 7 - first) % 7 <= length;
        }
    }
    is_read.then_some(days)
}

/// The first and the last day of `mon-fri` or `sat`.
fn read_range(field: &Field<'_>, problems: &mut Problems) -> Option<(usize, usize)> {
    let text = field.text(problems)?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first = read_day(first.trim(), field, problems);
    let last = read_day(last.trim(), field, problems);
    Some((first?, last?))
}

fn read_day(name: &str, field: &Field<'_>, problems: &mut Problems) -> Option<usize> {
    let day = DAYS.iter().position(|day| *day == name);
    if day.is_none() {
        field.refuse(problems, unknown("day", name, &DAYS));
    }
    day
}

fn read_hours(field: &Field<'_>, problems: &mut Problems) -> Option<(u16, u16)> {
    let hours = field.text(problems)?.split_once('-');
    let hours = hours.and_then(|(from, to)| {
        let from = minute(from).filter(|minute| *minute < DAY_MINUTES)?;
        Some((from, minute(to)?))
    });
    match hours {
        None => field.expected(
            problems,
            "two times of day, as in \"08:00-18:00\"; \"22:00-06:00\" ends on the next day",
        ),
        Some((from, to)) if from == to => field.refuse(
            problems,
            "it ends when it begins; \"00:00-24:00\" is a whole day",
        ),
        Some(_) => {}
    }
    hours
}

/// Minutes since midnight of `08:00`, up to `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |digits: &str| {
        let is_plain =
            (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| is_plain)
    };
    let minutes = number(minute).filter(|m| *m < 60 && minute.len() == 2)?;
    let total = number(hour)? * 60 + minutes;
    (total <= DAY_MINUTES).then_some(total)
}
