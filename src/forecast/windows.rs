//! Which floors a schedule of windows asks for at a moment, and when that changes.
//!
//! Windows are given in a time zone's own days and minutes, so they move with its summer time. A
//! minute that a change of the clock leaves out begins right behind it; one that it repeats is taken
//! the first time. Zones come from the database that is built in, so that every host decides alike.

use jiff::Zoned;
use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::model::{Timestamp, WarmWindow};

/// Machines to be at hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Floor {
    /// Running, without a build.
    pub running: u32,
    /// Asleep.
    pub asleep: u32,
}

/// The floors at `now`: of windows that hold at once the highest of each kind; and when a window
/// begins or ends next.
pub fn floors_at(windows: &[WarmWindow], now: Timestamp) -> (Floor, Option<Timestamp>) {
    let mut floor = Floor::default();
    let mut changes: Option<Timestamp> = None;
    for window in windows {
        for (begin, end) in stretches(window, now) {
            if begin <= now && now < end {
                floor.running = floor.running.max(window.running);
                floor.asleep = floor.asleep.max(window.asleep);
            }
            let next = [begin, end].into_iter().filter(|at| *at > now).min();
            changes = [changes, next].into_iter().flatten().min();
        }
    }
    (floor, changes)
}

/// The stretches of a window that may hold now or begin within the next week.
fn stretches(window: &WarmWindow, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    /// From yesterday, whose window may end today, to the same day of the next week.
    const DAYS: std::ops::RangeInclusive<i64> = -1..=8;
    let Ok(zone) = TimeZoneDatabase::bundled().get(&window.time_zone) else {
        // Policy files are checked for it; a zone that is no more asks for nothing.
        return Vec::new();
    };
    let Ok(today) = jiff::Timestamp::from_microsecond(now.micros()) else {
        return Vec::new();
    };
    let today = today.to_zoned(zone.clone()).date();
    let of_day = |days: i64| {
        let day = today.checked_add(jiff::Span::new().days(days)).ok()?;
        let begins = window.days.get(place_of(day.weekday())).copied();
        if !begins.unwrap_or(false) {
            return None;
        }
        let ends_next_day = window.to_minute <= window.from_minute;
        let last = if ends_next_day {
            day.tomorrow().ok()?
        } else {
            day
        };
        let begin = moment(day, window.from_minute, &zone)?;
        let end = moment(last, window.to_minute, &zone)?;
        Some((begin, end))
    };
    DAYS.filter_map(of_day).collect()
}

fn place_of(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or(0)
}

/// A minute of a day; 1440 is midnight at its end.
fn moment(day: Date, minute: u16, zone: &TimeZone) -> Option<Timestamp> {
    /// Minutes of a day.
    const DAY: u16 = 24 * 60;
    let day = if minute >= DAY {
        day.tomorrow().ok()?
    } else {
        day
    };
    let minute = minute % DAY;
    let (hour, minute) = (
        i8::try_from(minute / 60).ok()?,
        i8::try_from(minute % 60).ok()?,
    );
    let zoned: Zoned = day.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok()?;
    Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}
