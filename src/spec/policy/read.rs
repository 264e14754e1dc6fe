//! Values that several sections of a policy file hold: words, counts, spans, shares, money, zones.

use std::str::FromStr;

use super::super::document::{Field, Problems, Table, nearest, quoted, unknown};
use crate::model::{Span, time_zone, time_zone_names};

/// Longest time a policy may speak of; longer is as good as never, which is to leave it out.
pub(super) const MOST_SPAN: Span = Span::from_secs(365 * 24 * 3_600);

/// Most machines and builds a policy may speak of; leave it out for no limit.
const MOST_COUNT: u32 = 1_000_000;

/// Name of the time zone of times that do not say.
pub(super) const DEFAULT_TIME_ZONE: &str = "UTC";

/// Reads one of a few words.
pub(super) fn read_choice<T, const N: usize>(
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

pub(super) fn subtable<'d>(
    key: &str,
    known: &[&str],
    table: &Table<'d>,
    problems: &mut Problems,
) -> Option<Table<'d>> {
    table.get(key)?.table(known, problems)
}

pub(super) fn read_count(
    key: &str,
    least: u32,
    table: &Table<'_>,
    problems: &mut Problems,
) -> Option<u32> {
    table.get(key)?.integer(least..=MOST_COUNT, problems)
}

pub(super) fn read_span(
    key: &str,
    least: Span,
    table: &Table<'_>,
    problems: &mut Problems,
) -> Option<Span> {
    table.get(key)?.parse_within(least..=MOST_SPAN, problems)
}

/// Reads what says itself what would be accepted: money, rates.
pub(super) fn read_parsed<T>(key: &str, table: &Table<'_>, problems: &mut Problems) -> Option<T>
where
    T: FromStr<Err: std::fmt::Display>,
{
    table.get(key)?.parse(problems)
}

/// Reads a share of at least `least` percent, as in `80%`.
pub(super) fn read_percent(
    key: &str,
    least: u32,
    table: &Table<'_>,
    problems: &mut Problems,
) -> Option<u32> {
    let field = table.get(key)?;
    let text = field.text(problems)?;
    let percent = text.strip_suffix('%');
    let percent = percent.and_then(|number| number.trim_end().parse().ok());
    let percent = percent.filter(|percent| (least..=100).contains(percent));
    if percent.is_none() {
        let what = format!("a share from {least}% to 100%, with its sign");
        field.expected(problems, &what);
    }
    percent
}

/// Reads the name of a time zone, as its database spells it; [`DEFAULT_TIME_ZONE`] if there is none.
pub(super) fn read_time_zone(table: &Table<'_>, problems: &mut Problems) -> Option<String> {
    let Some(field) = table.get("time_zone") else {
        return Some(DEFAULT_TIME_ZONE.to_owned());
    };
    let name = field.text(problems)?;
    let zone = time_zone(name);
    let spelt = zone.as_ref().and_then(|zone| zone.iana_name());
    if spelt.is_none() {
        let guess = likely_zone(name)
            .map(|name| format!(" (did you mean {}?)", quoted(&name)))
            .unwrap_or_default();
        let message = format!(
            "unknown time zone {}{guess}; expected a name of the IANA database, as in Europe/Berlin \
             or UTC",
            quoted(name)
        );
        field.refuse(problems, message);
    }
    spelt.map(str::to_owned)
}

/// The zone that was probably meant: one of about this name, or one of this city.
fn likely_zone(name: &str) -> Option<String> {
    let names = time_zone_names();
    let near = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
    near.or_else(|| {
        let city = name.replace(' ', "_");
        let is_there = |zone: &String| {
            let place = zone.rsplit('/').next().unwrap_or_default();
            place.eq_ignore_ascii_case(&city)
        };
        names.into_iter().find(is_there)
    })
}
