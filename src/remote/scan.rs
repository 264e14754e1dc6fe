//! Takes the step boundaries out of an attempt's log. Pure: bytes in, pieces out.
//!
//! A boundary is `CONTROL nonce " " word ... "\n"`. It may be split over packets anywhere, and may
//! stand in the middle of a line when the output before it had no final newline.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem};

use super::script::CONTROL;

/// Longest boundary behind its prefix: two words and two numbers.
const LONGEST_WORDS: usize = 48;

/// A part of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Output of the build.
    Output(Bytes),
    /// A step began.
    Began(u32),
    /// A step ended with this exit code.
    Ended(u32, i32),
    /// No further step comes.
    Over,
}

/// A part of the log with the offset behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// What it is.
    pub(super) piece: Piece,
    /// Offset in the machine's log of the byte behind it.
    pub(super) end: u64,
}

/// Scans one log from one offset on.
#[derive(Debug)]
pub(super) struct Scanner {
    /// How a boundary begins.
    prefix: Vec<u8>,
    /// Bytes that may be the beginning of a boundary.
    held: BytesMut,
    /// Offset behind the last piece that was given out.
    consumed: u64,
}

impl Scanner {
    /// Starts at offset `from`, which must be the end of a piece.
    pub(super) fn new(nonce: &str, from: u64) -> Self {
        let mut prefix = vec![CONTROL];
        prefix.extend_from_slice(nonce.as_bytes());
        prefix.push(b' ');
        Self {
            prefix,
            held: BytesMut::new(),
            consumed: from,
        }
    }

    /// Offset behind the last byte that was taken in.
    pub(super) fn received(&self) -> u64 {
        self.consumed + self.held.len() as u64
    }

    /// Takes in bytes and gives out the pieces that are certain.
    pub(super) fn feed(&mut self, bytes: Bytes) -> Vec<Placed> {
        let mut rest = if self.held.is_empty() {
            bytes
        } else {
            self.held.extend_from_slice(&bytes);
            self.held.split().freeze()
        };
        let mut pieces = Vec::new();
        // Where to look for the next control byte; those before it are known to be output.
        let mut from = 0;
        while let Some(found) = rest.get(from..).and_then(|tail| memchr(CONTROL, tail)) {
            let at = from + found;
            match self.read(rest.get(at..).unwrap_or_default()) {
                Reading::Boundary(piece, length) => {
                    self.output(rest.split_to(at), &mut pieces);
                    self.place(piece, length, &mut pieces);
                    drop(rest.split_to(length));
                    from = 0;
                }
                Reading::Output => from = at + 1,
                Reading::Unfinished => {
                    self.held.extend_from_slice(&rest.split_off(at));
                    break;
                }
            }
        }
        self.output(rest, &mut pieces);
        pieces
    }

    /// No more bytes come: what looked like the beginning of a boundary was output.
    pub(super) fn finish(&mut self) -> Vec<Placed> {
        let mut pieces = Vec::new();
        let rest = self.held.split().freeze();
        self.output(rest, &mut pieces);
        pieces
    }

    fn output(&mut self, bytes: Bytes, pieces: &mut Vec<Placed>) {
        if !bytes.is_empty() {
            let length = bytes.len();
            self.place(Piece::Output(bytes), length, pieces);
        }
    }

    fn place(&mut self, piece: Piece, length: usize, pieces: &mut Vec<Placed>) {
        self.consumed += length as u64;
        pieces.push(Placed {
            piece,
            end: self.consumed,
        });
    }

    /// Reads `bytes`, which begin with the control byte.
    fn read(&self, bytes: &[u8]) -> Reading {
        let Some(words) = bytes.strip_prefix(self.prefix.as_slice()) else {
            return if self.prefix.starts_with(bytes) {
                Reading::Unfinished
            } else {
                Reading::Output
            };
        };
        let Some(length) = memmem::find(words, b"\n") else {
            return if words.len() < LONGEST_WORDS {
                Reading::Unfinished
            } else {
                Reading::Output
            };
        };
        match words.get(..length).and_then(parse) {
            Some(piece) => Reading::Boundary(piece, self.prefix.len() + length + 1),
            None => Reading::Output,
        }
    }
}

/// What bytes that begin with the control byte are.
enum Reading {
    /// A boundary of this length.
    Boundary(Piece, usize),
    /// Output that happens to hold the control byte.
    Output,
    /// More bytes must tell.
    Unfinished,
}

fn parse(words: &[u8]) -> Option<Piece> {
    let mut words = std::str::from_utf8(words).ok()?.split(' ');
    let piece = match words.next()? {
        "begin" => Piece::Began(words.next()?.parse().ok()?),
        "end" => Piece::Ended(words.next()?.parse().ok()?, words.next()?.parse().ok()?),
        "over" => {
            words.next()?;
            Piece::Over
        }
        _ => return None,
    };
    words.next().is_none().then_some(piece)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: &[u8] =
        b"\x1eabcd begin 0\none\x1eabcd end 0 3\n\x1eabcx end 0 3\n\x1eabcd begin 1\n\
        \x1eabcd end 1 143\n\x1eabcd over 3\n\x1eab";

    fn scan(chunks: impl IntoIterator<Item = Bytes>) -> Vec<Placed> {
        let mut scanner = Scanner::new("abcd", 100);
        let mut pieces: Vec<Placed> = Vec::new();
        for chunk in chunks {
            pieces.extend(scanner.feed(chunk));
        }
        pieces.extend(scanner.finish());
        merged(pieces)
    }

    /// Joins neighbouring output, which packets may cut anywhere.
    fn merged(pieces: Vec<Placed>) -> Vec<Placed> {
        let mut joined: Vec<Placed> = Vec::new();
        for next in pieces {
            if let (
                Some(Placed {
                    piece: Piece::Output(before),
                    end,
                }),
                Piece::Output(after),
            ) = (joined.last_mut(), &next.piece)
            {
                *before = [&before[..], &after[..]].concat().into();
                *end = next.end;
            } else {
                joined.push(next);
            }
        }
        joined
    }

    #[test]
    fn boundaries_come_out_and_output_stays() {
        let pieces = scan([Bytes::from_static(LOG)]);
        let output = |text: &'static [u8]| Piece::Output(Bytes::from_static(text));
        let expected = [
            (Piece::Began(0), 114),
            (output(b"one"), 117),
            (Piece::Ended(0, 3), 131),
            (output(b"\x1eabcx end 0 3\n"), 145),
            (Piece::Began(1), 159),
            (Piece::Ended(1, 143), 175),
            (Piece::Over, 188),
            (output(b"\x1eab"), 191),
        ];
        let expected = expected.map(|(piece, end)| Placed { piece, end });
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_line_without_control_bytes_is_given_out_at_once_and_uncopied() {
        let line = Bytes::from_static(b"hello\n");
        let pieces = Scanner::new("abcd", 0).feed(line.clone());
        let [
            Placed {
                piece: Piece::Output(bytes),
                end: 6,
            },
        ] = pieces.as_slice()
        else {
            panic!("{pieces:?}")
        };
        assert_eq!(bytes.as_ptr(), line.as_ptr());
    }

    #[test]
    fn a_false_beginning_is_held_no_longer_than_a_boundary_is_long() {
        let mut scanner = Scanner::new("abcd", 0);
        assert!(scanner.feed(Bytes::from_static(b"\x1eabcd ")).is_empty());
        let pieces = scanner.feed(Bytes::from(vec![b'x'; LONGEST_WORDS]));
        assert_eq!(pieces.len(), 1);
        assert_eq!(scanner.consumed, 6 + LONGEST_WORDS as u64);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(cuts in prop::collection::vec(1_usize..20, 1..60)) {
            let mut rest = Bytes::from_static(LOG);
            let mut chunks = Vec::new();
            for cut in cuts {
                chunks.push(rest.split_to(cut.min(rest.len())));
            }
            chunks.push(rest);
            prop_assert_eq!(scan(chunks), scan([Bytes::from_static(LOG)]));
        }

        #[test]
        fn no_byte_is_lost_or_invented(bytes in prop::collection::vec(
            prop_oneof![Just(CONTROL), Just(b'a'), Just(b'b'), any::<u8>()], 0..300)) {
            let mut scanner = Scanner::new("ab", 0);
            let mut output = Vec::new();
            for chunk in bytes.chunks(7) {
                for placed in scanner.feed(Bytes::copy_from_slice(chunk)) {
                    if let Piece::Output(part) = placed.piece { output.extend_from_slice(&part); }
                    prop_assert!(placed.end <= bytes.len() as u64);
                }
                prop_assert_eq!(scanner.consumed + scanner.held.len() as u64, scanner.received());
            }
            for placed in scanner.finish() {
                if let Piece::Output(part) = placed.piece { output.extend_from_slice(&part); }
            }
            prop_assert_eq!(scanner.consumed, bytes.len() as u64);
            prop_assert!(output.len() <= bytes.len());
        }
    }
}
