//! What the planner knows of machines that stand by: how long idle ones may, and how many are wanted.

use serde::{Deserialize, Serialize};

use crate::model::{Billing, Money, Rate, SleepKind, Span, Timestamp};

/// How long one idle machine may stand so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleTerms {
    /// So long.
    pub timeout: Span,
    /// Why so long.
    pub why: IdleWhy,
    /// In which pieces its time is billed.
    pub billing: Billing,
    /// Since when it is billed without a break.
    pub billed_from: Timestamp,
}

/// Why an idle machine may stand so for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdleWhy {
    /// A policy says so.
    Said,
    /// So long it costs less than a boot and the wait for it.
    Worth {
        /// How long a boot takes.
        boot: Span,
        /// What an hour of waiting is worth.
        value_of_wait: Rate,
        /// What the machine costs.
        price: Rate,
        /// Gaps between builds that it was learnt from; none while they are too few.
        learnt_from: Option<u64>,
    },
}

/// Why an idle machine is kept now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeptWhy {
    /// It has not stood idle for as long as it may.
    Idle(IdleWhy),
    /// It has, but its time is paid for until then.
    Paid,
    /// It is to be at hand.
    Floor(FloorWhy),
}

impl IdleTerms {
    /// When a machine goes that has been idle `since`, and why it stays until then.
    ///
    /// Time by the piece is used up, and further pieces are bought only as long as they fit into the
    /// timeout as a whole; the machine goes shortly before the next one begins.
    pub(super) fn goes_at(&self, since: Timestamp) -> (Timestamp, KeptWhy) {
        let by_timeout = since + self.timeout;
        let paid = self.billing.paid(since.since(self.billed_from));
        let paid_until = self.billed_from + paid;
        let quantum = self.billing.quantum.micros();
        let is_by_piece = self.billing.quantum >= LEAST_PIECE;
        let pieces = self.timeout.micros().checked_div(quantum);
        let Some(pieces) = pieces.filter(|_| is_by_piece) else {
            let is_paid = paid_until > by_timeout;
            let why = if is_paid {
                KeptWhy::Paid
            } else {
                KeptWhy::Idle(self.why)
            };
            return (by_timeout.max(paid_until), why);
        };
        let bought = Span::from_micros(pieces.saturating_mul(quantum));
        let margin = Span::from_micros(quantum / 10).min(LONGEST_MARGIN);
        (paid_until + bought - margin, KeptWhy::Paid)
    }
}

/// Pieces shorter than this are as good as time as it is used.
const LEAST_PIECE: Span = Span::from_secs(60);

/// How long before the next piece begins a machine is ended at the latest: ending takes a pass of the
/// planner, a call and its way through the provider.
const LONGEST_MARGIN: Span = Span::from_secs(120);

/// Machines of an image to be at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floors {
    /// Running, without a build.
    pub running: u32,
    /// Asleep.
    pub asleep: u32,
    /// How machines are put to sleep.
    pub sleep: SleepKind,
    /// What the running ones are wanted for.
    pub why: FloorWhy,
    /// Age at which one that has run nothing is replaced.
    pub max_age: Option<Span>,
    /// What standing by may cost.
    pub ceiling: Option<Ceiling>,
}

/// What machines are to be at hand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FloorWhy {
    /// A policy's schedule says so.
    Schedule,
    /// So many builds came at the same hour of past weeks.
    Forecast,
}

/// What standing by may cost within a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling {
    /// So much.
    pub max: Money,
    /// What is billed for it already.
    pub spent: Money,
    /// The begin of the day.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}
