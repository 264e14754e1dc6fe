//! `idle`: what becomes of machines that have nothing to do.

use super::super::document::{Field, Problems, Table, quoted};
use super::read::{MOST_SPAN, read_choice, read_count, read_parsed, read_span, subtable};
use crate::model::{IdleTimeout, PolicySpec, SleepKind, Span};

pub(super) fn read_idle(table: &Table<'_>, spec: &mut PolicySpec, problems: &mut Problems) {
    const KEYS: [&str; 4] = ["timeout", "value_of_wait", "then", "asleep"];
    let Some(idle) = subtable("idle", &KEYS, table, problems) else {
        return;
    };
    spec.idle_timeout = idle
        .get("timeout")
        .and_then(|field| read_timeout(field, problems));
    // Nothing is a fair value: nobody waits for nightly builds.
    spec.value_of_wait = read_parsed("value_of_wait", &idle, problems);
    spec.sleep = idle
        .get("then")
        .and_then(|field| read_then(field, problems));
    if let Some(asleep) = subtable("asleep", &["machines", "timeout"], &idle, problems) {
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

fn read_timeout(field: &Field<'_>, problems: &mut Problems) -> Option<IdleTimeout> {
    let text = field.text(problems)?;
    if text == "auto" {
        return Some(IdleTimeout::Auto);
    }
    if text.parse::<Span>().is_err() {
        let message = format!(
            "{} is not an idle time (expected auto, or a number with a unit, as in 90s, 5m, 1h30m)",
            quoted(text)
        );
        field.refuse(problems, message);
        return None;
    }
    // No time at all: a machine goes as soon as it has nothing to do.
    let span = field.parse_within(Span::ZERO..=MOST_SPAN, problems);
    span.map(IdleTimeout::After)
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
