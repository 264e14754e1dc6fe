//! Floor 1: what is learnt from the past, and what follows from it.
//!
//! Small statistics that are updated by events with a time: how long boots take (`boots`), how long
//! machines stand idle until the next build (`gaps`), how many builds arrive (`arrivals`), how long
//! builds take (`durations`) and how often spare capacity is taken back (`interruptions`). `idle`
//! makes a timeout of them, `windows` says which floors a schedule asks for. The same events in the
//! same order give the same statistics, so a restart learns from the store what a running process
//! has learnt from its transitions.
//!
//! Everything is in integers, everything is bounded, and everything fades: what is older than
//! [`MEMORY`] counts for nothing or next to it. Hours of the week are those of UTC: people's habits
//! move by an hour twice a year, and are learnt anew within weeks.
//!
//! It knows no clock, no machine and no policy. Callers: `books`, `simulate`.

mod arrivals;
mod boots;
mod durations;
mod gaps;
mod histogram;
mod idle;
mod interruptions;
mod recent;
mod week;
mod windows;

use crate::model::{Span, Timestamp};

pub use arrivals::Arrivals;
pub use boots::{BootOf, Boots, DEFAULT_BOOT};
pub use durations::Durations;
pub use gaps::Gaps;
pub use histogram::Histogram;
pub use idle::{IdleChoice, LONGEST_FREE, LONGEST_IDLE, LONGEST_UNTAUGHT, Stakes, choose_timeout};
pub use interruptions::Interruptions;
pub use windows::{Floor, floors_at};

/// What is older counts for nothing, or next to it: four weeks hold every habit of a week four times.
pub const MEMORY: Span = Span::from_secs(4 * week::WEEK_SECS);

/// Everything that is learnt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forecast {
    /// How long boots and wakes take.
    pub boots: Boots,
    /// How long machines stand idle until the next build.
    pub gaps: Gaps,
    /// How many builds arrive.
    pub arrivals: Arrivals,
    /// How long builds take.
    pub durations: Durations,
    /// How often spare capacity is taken back.
    pub interruptions: Interruptions,
}

/// An attempt that got a machine: what has to be known of it until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// When the machine whose place it took had become idle.
    pub idle_since: Option<Timestamp>,
    /// When it was bound.
    pub at: Timestamp,
}

impl Forecast {
    /// A build was bound to a machine of `image`, or to a launch of it; `is_first` for its first
    /// attempt.
    pub fn bound(&mut self, image: &str, is_first: bool, at: Timestamp) -> Begun {
        if is_first {
            self.arrivals.learn(image, at);
        }
        Begun {
            idle_since: self.gaps.taken(image, at),
            at,
        }
    }

    /// The attempt is over; `has_run` unless no machine was launched for it.
    pub fn ended(&mut self, image: &str, begun: Begun, has_run: bool, at: Timestamp) {
        match (begun.idle_since, has_run) {
            (Some(since), true) => self.gaps.learn(image, since, begun.at.since(since)),
            (Some(since), false) => self.gaps.freed(image, since),
            (None, true | false) => {}
        }
        if has_run {
            self.gaps.freed(image, at);
        }
    }
}

#[cfg(test)]
mod tests;
