//! Where a moment lies in the week, in UTC. Weeks begin on Monday.

use crate::model::Timestamp;

pub(super) const WEEK_SECS: u64 = 7 * 24 * 3_600;
const HOUR_SECS: i64 = 3_600;
/// Slots of five minutes, in which arrivals are counted.
pub(super) const SLOT_SECS: i64 = 300;
pub(super) const SLOTS_PER_HOUR: u16 = 12;
pub(super) const SLOTS_PER_WEEK: u16 = 7 * 24 * SLOTS_PER_HOUR;

/// 1970 began on a Thursday: three days after a Monday.
const FIRST_MONDAY: i64 = 3 * 24 * HOUR_SECS;

fn secs(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000) + FIRST_MONDAY
}

fn week_secs() -> i64 {
    i64::try_from(WEEK_SECS).unwrap_or(i64::MAX)
}

/// The number of the week.
pub(super) fn week_of(at: Timestamp) -> i64 {
    secs(at).div_euclid(week_secs())
}

/// The begin of an hour of a week.
pub(super) fn begin_of(week: i64, hour: u16) -> Timestamp {
    let secs = week * week_secs() + i64::from(hour) * HOUR_SECS - FIRST_MONDAY;
    Timestamp::from_micros(secs.saturating_mul(1_000_000))
}

/// The hour of the week, from 0 to 167.
pub(super) fn hour_of_week(at: Timestamp) -> u16 {
    u16::try_from(secs(at).rem_euclid(week_secs()) / HOUR_SECS).unwrap_or(0)
}

/// The slot of the week, from 0 to 2,015.
pub(super) fn slot_of_week(at: Timestamp) -> u16 {
    u16::try_from(secs(at).rem_euclid(week_secs()) / SLOT_SECS).unwrap_or(0)
}

/// The hour of the day, from 24 on for those of Saturday and Sunday.
pub(super) const fn hour_of_kind(hour_of_week: u16) -> u16 {
    let is_weekend = hour_of_week >= 5 * 24;
    hour_of_week % 24 + if is_weekend { 24 } else { 0 }
}
