//! Lines with the times at which they began, for output with timestamps.
//!
//! Nothing is gathered: a line of any length passes through in the pieces in which it comes.

use crate::model::{LineMark, Timestamp};

use super::marks;

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinePiece<'a> {
    /// When the first byte of the line came home, if this piece begins a line.
    pub begins: Option<Timestamp>,
    /// The bytes, with the newline if the line ends here.
    pub bytes: &'a [u8],
}

/// Cuts a log into lines, chunk by chunk, in order.
#[derive(Debug, Clone, Default)]
pub struct LineTimes {
    is_within_line: bool,
}

impl LineTimes {
    /// For a log that is read from its beginning, or from the beginning of a line.
    pub const fn new() -> Self {
        Self {
            is_within_line: false,
        }
    }

    /// The pieces of a chunk that came home `at`. Take all of them: the next chunk goes on where
    /// they end.
    pub fn split<'a>(
        &mut self,
        at: Timestamp,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = LinePiece<'a>> + use<'_, 'a> {
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(move |bytes| {
                let begins = (!self.is_within_line).then_some(at);
                self.is_within_line = !bytes.ends_with(b"\n");
                LinePiece { begins, bytes }
            })
    }
}

/// Cuts the bytes of a log from `offset` on into runs that came home together, each with its time.
/// Bytes that no mark covers have the time of the first mark; without marks there are no runs.
pub fn split_at_marks<'a>(
    offset: u64,
    bytes: &'a [u8],
    marks: &'a [LineMark],
) -> impl Iterator<Item = (Timestamp, &'a [u8])> {
    let mut offset = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let first = marks.first()?;
        let (at, until) = marks::arrival(marks, offset).unwrap_or((first.at, first.offset));
        let len = usize::try_from(until - offset).unwrap_or(usize::MAX);
        let (run, later) = rest.split_at(len.min(rest.len()));
        offset += run.len() as u64;
        rest = later;
        Some((at, run))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn pieces(times: &mut LineTimes, micros: i64, text: &str) -> Vec<(Option<i64>, String)> {
        times
            .split(at(micros), text.as_bytes())
            .map(|piece| {
                (
                    piece.begins.map(Timestamp::micros),
                    String::from_utf8(piece.bytes.to_vec()).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn a_line_has_the_time_of_its_first_byte() {
        let mut times = LineTimes::new();
        assert_eq!(
            pieces(&mut times, 1, "one\ntw"),
            [(Some(1), "one\n".to_owned()), (Some(1), "tw".to_owned())]
        );
        assert_eq!(pieces(&mut times, 2, ""), []);
        assert_eq!(
            pieces(&mut times, 3, "o\n\nthree"),
            [
                (None, "o\n".to_owned()),
                (Some(3), "\n".to_owned()),
                (Some(3), "three".to_owned())
            ]
        );
    }

    #[test]
    fn runs_follow_the_marks() {
        let marks = [(10, 1), (14, 2), (20, 3)].map(|(offset, micros)| LineMark {
            offset,
            at: at(micros),
        });
        let runs = |offset, bytes: &'static [u8]| -> Vec<(i64, &[u8])> {
            split_at_marks(offset, bytes, &marks)
                .map(|(at, run)| (at.micros(), run))
                .collect()
        };
        assert_eq!(runs(12, b"abcd"), [(1, &b"ab"[..]), (2, &b"cd"[..])]);
        assert_eq!(runs(8, b"abcd"), [(1, &b"ab"[..]), (1, &b"cd"[..])]);
        assert_eq!(runs(25, b"abcd"), [(3, &b"abcd"[..])]);
        assert_eq!(split_at_marks(0, b"abcd", &[]).count(), 0);
    }
}
