//! The periods of budgets, and what falls into them.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Span as Step, Zoned};

use crate::model::{Entry, Money, Period, Span, Timestamp};

/// From a period's begin up to before the next one's.
pub type Window = (Timestamp, Timestamp);

/// Whether there is a time zone of this name. The database is part of the program, so that budgets end
/// at the same moment on every host.
pub fn is_time_zone(name: &str) -> bool {
    TimeZoneDatabase::bundled().get(name).is_ok()
}

/// The period around a moment, in a time zone; none for a life, which no clock ends.
///
/// Days, weeks and months begin at midnight there, or at the first moment after it where a change of
/// clocks leaves midnight out; so a day may have 23 or 25 hours. A zone that is not known, which no
/// policy file can name, is taken for UTC.
pub fn window(period: Period, time_zone: &str, at: Timestamp) -> Option<Window> {
    let zone = TimeZoneDatabase::bundled().get(time_zone);
    let zone = zone.unwrap_or(TimeZone::UTC);
    let now = jiff::Timestamp::from_microsecond(at.micros()).ok()?;
    let local = now.to_zoned(zone.clone());
    let today = local.date();
    let (first, step) = match period {
        Period::Life => return None,
        Period::Hour => return hour(&local, at),
        Period::Day => (today, Step::new().days(1)),
        Period::Week => {
            let passed = i64::from(today.weekday().to_monday_zero_offset());
            let monday = today.checked_sub(Step::new().days(passed)).ok()?;
            (monday, Step::new().weeks(1))
        }
        Period::Month => (today.first_of_month(), Step::new().months(1)),
    };
    let next = first.checked_add(step).ok()?;
    Some((midnight(first, &zone)?, midnight(next, &zone)?))
}

fn midnight(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    let begin = date.to_zoned(zone.clone()).ok()?;
    Some(Timestamp::from_micros(begin.timestamp().as_microsecond()))
}

/// An hour is sixty minutes, whatever the clocks do.
fn hour(local: &Zoned, at: Timestamp) -> Option<Window> {
    const HOUR: i64 = 3_600_000_000;
    let offset = i64::from(local.offset().seconds()) * 1_000_000;
    let into = at.micros().checked_add(offset)?.rem_euclid(HOUR);
    let begin = Timestamp::from_micros(at.micros() - into);
    Some((begin, begin + Span::from_secs(3_600)))
}

/// What of an entry falls between two moments: its money in proportion to its time. The parts of
/// adjoining stretches add up to the whole exactly. One that takes no time counts where it begins.
pub fn between(entry: &Entry, from: Timestamp, to: Timestamp) -> Money {
    before(entry, to) - before(entry, from)
}

fn before(entry: &Entry, at: Timestamp) -> Money {
    let whole = i128::from(entry.to.since(entry.from).micros());
    let part = i128::from(at.since(entry.from).micros());
    if part == 0 {
        return Money::ZERO;
    }
    if whole == 0 || at >= entry.to {
        return entry.amount;
    }
    let part = i128::from(entry.amount.micros()) * part / whole;
    Money::from_micros(i64::try_from(part).unwrap_or(i64::MAX))
}

/// What a window will have cost at its end, if the rest of it goes as `recent` did over `over`.
pub fn forecast(spent: Money, recent: Money, over: Span, rest: Span) -> Money {
    let over = i128::from(over.micros()).max(1);
    let more = i128::from(recent.micros()) * i128::from(rest.micros()) / over;
    spent + Money::from_micros(i64::try_from(more).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Category, MachineId};

    fn time(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_micros(time.as_microsecond())
    }

    fn hours(period: Period, zone: &str, at: &str) -> (String, u64) {
        let (from, to) = window(period, zone, time(at)).unwrap();
        assert!(from <= time(at) && time(at) < to, "{at}");
        (from.to_string(), to.since(from).micros() / 3_600_000_000)
    }

    #[test]
    fn days_are_as_long_as_the_clocks_make_them() {
        let zone = "Europe/Berlin";
        let day = |at| hours(Period::Day, zone, at);
        let begin = |text: &str| format!("{text}:00:00.000000Z");
        assert_eq!(day("2026-03-28T12:00:00Z"), (begin("2026-03-27T23"), 24));
        assert_eq!(day("2026-03-29T12:00:00Z"), (begin("2026-03-28T23"), 23));
        assert_eq!(day("2026-10-25T00:30:00Z"), (begin("2026-10-24T22"), 25));
        // Midnight is left out: the day begins at one.
        let (from, length) = hours(Period::Day, "America/Santiago", "2026-09-06T12:00:00Z");
        assert_eq!((from.as_str(), length), ("2026-09-06T04:00:00.000000Z", 23));
    }

    #[test]
    fn months_and_weeks_begin_where_the_zone_says() {
        let month = hours(Period::Month, "Asia/Kolkata", "2028-02-29T19:00:00Z");
        assert_eq!(month, ("2028-02-29T18:30:00.000000Z".to_owned(), 31 * 24));
        let leap = hours(Period::Month, "UTC", "2028-02-10T00:00:00Z");
        assert_eq!(leap, ("2028-02-01T00:00:00.000000Z".to_owned(), 29 * 24));
        let week = hours(Period::Week, "UTC", "2026-11-22T23:59:59Z");
        assert_eq!(week, ("2026-11-16T00:00:00.000000Z".to_owned(), 7 * 24));
        let hour = hours(Period::Hour, "Asia/Kolkata", "2026-11-22T10:29:59Z");
        assert_eq!(hour, ("2026-11-22T09:30:00.000000Z".to_owned(), 1));
        assert_eq!(
            window(Period::Life, "UTC", time("2026-11-22T10:29:59Z")),
            None
        );
    }

    #[test]
    fn time_zones_do_not_depend_on_the_host() {
        assert!(is_time_zone("Europe/Berlin") && is_time_zone("UTC"));
        assert!(!is_time_zone("Europe/Atlantis"));
    }

    fn entry(from: Timestamp, to: Timestamp) -> Entry {
        Entry {
            machine: MachineId::from_bits(1),
            image: "debian".to_owned(),
            build: None,
            attempt: None,
            pipeline: None,
            project: None,
            category: Category::Idle,
            from,
            to,
            amount: Money::from_micros(1_000_000),
        }
    }

    #[test]
    fn parts_of_an_entry_add_up() {
        let (from, to) = (time("2026-11-22T23:00:00Z"), time("2026-11-23T02:00:00Z"));
        let entry = entry(from, to);
        let midnight = time("2026-11-23T00:00:00Z");
        let early = between(&entry, time("2026-11-22T00:00:00Z"), midnight);
        let late = between(&entry, midnight, time("2026-11-24T00:00:00Z"));
        assert_eq!(early, Money::from_micros(333_333));
        assert_eq!(early + late, entry.amount);
        assert_eq!(between(&entry, to, to + Span::from_secs(9)), Money::ZERO);
    }

    #[test]
    fn an_entry_that_takes_no_time_is_in_the_window_that_it_begins() {
        let midnight = time("2026-11-23T00:00:00Z");
        let day = Span::from_secs(86_400);
        // Paid for and not used; or the clock stepped back.
        for to in [midnight, midnight - Span::from_secs(1)] {
            let entry = entry(midnight, to);
            assert_eq!(between(&entry, midnight - day, midnight), Money::ZERO);
            assert_eq!(between(&entry, midnight, midnight + day), entry.amount);
            assert_eq!(
                between(&entry, midnight + day, midnight + day + day),
                Money::ZERO
            );
        }
    }

    #[test]
    fn a_forecast_goes_on_as_lately() {
        let day = Span::from_secs(86_400);
        let week = Span::from_secs(7 * 86_400);
        let (spent, recent) = (Money::from_micros(10), Money::from_micros(70));
        assert_eq!(forecast(spent, recent, week, day), Money::from_micros(20));
    }
}
