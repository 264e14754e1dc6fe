//! The end of a log that is not stored yet, in memory.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::model::{LineMark, Timestamp};

use super::marks::{self, Marks};
use super::reader::Chunk;

/// Bytes are copied into blocks of this size. Arriving chunks are often small slices of large
/// network buffers, which must not be kept alive by them; and a reader can hold a whole block
/// without a copy.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes `[start, end)` of a log.
#[derive(Debug)]
pub(super) struct Tail {
    start: u64,
    end: u64,
    /// Full or sealed, in order, from `start` on.
    blocks: VecDeque<Bytes>,
    /// Grows up to a block; follows the last of `blocks`.
    open: BytesMut,
    marks: Marks,
}

impl Tail {
    /// An empty tail behind the first `start` bytes of a log.
    pub(super) fn new(start: u64) -> Self {
        Self {
            start,
            end: start,
            blocks: VecDeque::new(),
            open: BytesMut::new(),
            marks: Marks::new(),
        }
    }

    pub(super) const fn start(&self) -> u64 {
        self.start
    }

    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Number of bytes in it.
    pub(super) const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// When its first byte arrived; `None` when it is empty.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.marks.as_slice().first().map(|mark| mark.at)
    }

    /// Appends bytes that arrived `at`.
    pub(super) fn push(&mut self, mut bytes: &[u8], at: Timestamp) {
        if bytes.is_empty() {
            return;
        }
        self.marks.note(self.end, at);
        self.end += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.open.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.open.extend_from_slice(now);
            if self.open.len() == BLOCK_BYTES {
                self.seal();
            }
            bytes = later;
        }
    }

    /// Makes the open block shareable.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            let block = std::mem::take(&mut self.open);
            self.blocks.push_back(block.freeze());
        }
    }

    /// All of it, without copying: blocks in order, and the marks of its bytes.
    pub(super) fn snapshot(&mut self) -> (Vec<Bytes>, Vec<LineMark>) {
        self.seal();
        (
            self.blocks.iter().cloned().collect(),
            self.marks.from(self.start),
        )
    }

    /// Lets go of the bytes before `to`; how many these were.
    pub(super) fn release(&mut self, to: u64) -> u64 {
        let before = self.start;
        let to = to.clamp(self.start, self.end);
        self.seal();
        while self.start < to
            && let Some(block) = self.blocks.front_mut()
        {
            let wanted = usize::try_from(to - self.start).unwrap_or(usize::MAX);
            let gone = wanted.min(block.len());
            block.advance(gone);
            self.start += gone as u64;
            if block.is_empty() {
                self.blocks.pop_front();
            }
        }
        if self.blocks.is_empty() {
            self.blocks = VecDeque::new(); // An idle recorder holds nothing.
        }
        self.marks.release(self.start, self.end);
        self.start - before
    }

    /// Bytes from `offset` on that arrived together: at most a block, at most up to `to`. `None`
    /// when there are none.
    pub(super) fn read(&self, offset: u64, to: u64) -> Option<Chunk> {
        let (at, until) = marks::arrival(self.marks.as_slice(), offset)?;
        let most = usize::try_from(until.min(to).min(self.end).checked_sub(offset)?).ok()?;
        let mut skip = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        for block in &self.blocks {
            if skip < block.len() {
                let bytes = block.slice(skip..block.len().min(skip.saturating_add(most)));
                return Chunk::new(offset, bytes, at);
            }
            skip -= block.len();
        }
        let rest = self.open.get(skip..)?;
        let bytes = Bytes::copy_from_slice(rest.get(..most).unwrap_or(rest));
        Chunk::new(offset, bytes, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_with(start: u64, bytes: &[u8]) -> Tail {
        let mut tail = Tail::new(start);
        tail.push(bytes, Timestamp::from_micros(0));
        tail
    }

    fn everything(tail: &Tail, mut offset: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(chunk) = tail.read(offset, u64::MAX) {
            assert_eq!(chunk.offset, offset);
            offset += chunk.bytes.len() as u64;
            all.extend_from_slice(&chunk.bytes);
        }
        all
    }

    fn noise(len: usize) -> Vec<u8> {
        (0..=250).cycle().step_by(31).take(len).collect()
    }

    #[test]
    fn it_reads_back_what_was_pushed_from_every_offset() {
        let bytes = noise(3 * BLOCK_BYTES + 17);
        let tail = tail_with(1_000, &bytes);
        for from in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, bytes.len() - 1] {
            assert_eq!(everything(&tail, 1_000 + from as u64), bytes[from..]);
        }
        assert_eq!(tail.read(999, u64::MAX), None);
        assert_eq!(tail.read(1_000 + bytes.len() as u64, u64::MAX), None);
        assert_eq!(tail.read(1_005, 1_007).unwrap().bytes, bytes[5..7]);
    }

    #[test]
    fn a_snapshot_is_all_of_it_and_stays_while_more_comes() {
        let bytes = noise(BLOCK_BYTES + 5);
        let mut tail = tail_with(7, &bytes);
        let (blocks, marks) = tail.snapshot();
        tail.push(b"more", Timestamp::from_micros(1_000_000));
        assert_eq!(blocks.concat(), bytes);
        assert_eq!(marks.len(), 1);
        assert_eq!(marks[0].offset, 7);
        assert_eq!(everything(&tail, 7), [&bytes[..], b"more"].concat());
    }

    #[test]
    fn released_bytes_are_gone_and_counted_once() {
        let bytes = noise(2 * BLOCK_BYTES);
        let mut tail = tail_with(0, &bytes);
        let cut = BLOCK_BYTES as u64 + 3;
        assert_eq!(tail.release(cut), cut);
        assert_eq!(tail.release(cut - 1), 0);
        assert_eq!((tail.start(), tail.len()), (cut, bytes.len() as u64 - cut));
        assert_eq!(tail.read(cut - 1, u64::MAX), None);
        assert_eq!(everything(&tail, cut), bytes[BLOCK_BYTES + 3..]);
        assert_eq!(tail.release(u64::MAX), bytes.len() as u64 - cut);
        assert_eq!((tail.len(), tail.oldest()), (0, None));
    }

    #[test]
    fn a_chunk_ends_where_the_time_changes() {
        let mut tail = tail_with(0, b"early ");
        tail.push(b"late", Timestamp::from_micros(1_000_000));
        let first = tail.read(0, u64::MAX).unwrap();
        let second = tail.read(6, u64::MAX).unwrap();
        assert_eq!((&first.bytes[..], first.at.micros()), (&b"early "[..], 0));
        assert_eq!(
            (&second.bytes[..], second.at.micros()),
            (&b"late"[..], 1_000_000)
        );
    }
}
