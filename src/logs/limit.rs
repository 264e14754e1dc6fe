//! The limit on a build's log, and the line that marks it.
//!
//! Whether the limit was reached follows from the log's length alone: a log within its limit is at
//! most `bytes` long, and one beyond it is exactly `bytes` plus the marker. So a recorder that
//! starts again after a crash repeats neither bytes nor marker, whatever was stored when.

use std::fmt;

/// Where a log ends, come what may.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    bytes: u64,
    /// Begins with a newline, whatever is before it: the last byte kept may be stored already, and
    /// the marker must be the same text each time.
    marker: String,
}

/// What becomes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it is kept.
    Keep,
    /// This many of its bytes are kept, then the marker ends the log.
    KeepThenMark(usize),
    /// The log has ended before it.
    Drop,
}

impl Limit {
    pub(super) fn new(bytes: u64) -> Self {
        let marker = format!(
            "\n[dormouse: log limit of {} reached; the rest is dropped]\n",
            Size(bytes)
        );
        Self { bytes, marker }
    }

    /// What becomes of `chunk` bytes that come after the first `length` of the log.
    pub(super) fn judge(&self, length: u64, chunk: usize) -> Verdict {
        let Some(room) = self.bytes.checked_sub(length) else {
            return Verdict::Drop;
        };
        match usize::try_from(room) {
            Ok(room) if room < chunk => Verdict::KeepThenMark(room),
            Ok(_) | Err(_) => Verdict::Keep,
        }
    }

    /// Whether a log of this length was cut.
    pub(super) const fn is_beyond(&self, length: u64) -> bool {
        length > self.bytes
    }

    pub(super) fn marker(&self) -> &[u8] {
        self.marker.as_bytes()
    }
}

/// A number of bytes in the largest unit that says it exactly.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_names_the_limit() {
        let marker = |bytes| String::from_utf8(Limit::new(bytes).marker().to_vec()).unwrap();
        assert_eq!(
            marker(100 << 20),
            "\n[dormouse: log limit of 100 MiB reached; the rest is dropped]\n"
        );
        assert!(marker(3 << 30).contains(" 3 GiB "));
        assert!(marker(1_500).contains(" 1500 bytes "));
        assert!(marker(0).contains(" 0 bytes "));
    }

    #[test]
    fn a_log_is_cut_exactly_at_its_limit_and_only_when_more_comes() {
        let limit = Limit::new(10);
        assert_eq!(limit.judge(0, 10), Verdict::Keep);
        assert_eq!(limit.judge(4, 7), Verdict::KeepThenMark(6));
        assert_eq!(limit.judge(10, 1), Verdict::KeepThenMark(0));
        assert_eq!(limit.judge(10, 0), Verdict::Keep);
        assert_eq!(limit.judge(11, 1), Verdict::Drop);
        assert!(!limit.is_beyond(10));
        assert!(limit.is_beyond(11));
    }

    #[test]
    fn no_limit_at_all_overflows_nothing() {
        assert_eq!(Limit::new(u64::MAX).judge(1 << 60, 1 << 40), Verdict::Keep);
    }
}
