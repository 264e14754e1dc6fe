//! Times of the week at which machines are to be at hand.

use serde::{Deserialize, Serialize};

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
