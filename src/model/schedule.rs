//! Times of the week at which machines are to be at hand.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// The database that comes with the program, never the host's: a policy means the same everywhere,
/// and reading it touches no file.
static TIME_ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The time zone of an IANA name, in upper or lower case.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    TIME_ZONES.get(name).ok()
}

/// The names of all time zones.
pub fn time_zone_names() -> Vec<String> {
    let names = TIME_ZONES.available();
    names.map(|name| name.to_string()).collect()
}

/// Floors that hold on some days between two times of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmWindow {
    /// Days of the week on which it begins, Monday first.
    pub days: [bool; 7],
    /// First minute of the day.
    pub from_minute: u16,
    /// First minute that no longer belongs to it; at or before `from_minute` for one that ends on
    /// the next day. 1440 is midnight at the end of the day.
    pub to_minute: u16,
    /// IANA name of the time zone.
    pub time_zone: String,
    /// Machines that run and have nothing to do.
    pub running: u32,
    /// Machines asleep.
    pub asleep: u32,
}
