//! Where log bytes lie in storage.

use serde::{Deserialize, Serialize};

use super::id::{AttemptId, PackId};
use super::time::Timestamp;

/// A run of an attempt's log bytes, as one compressed frame inside a stored pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Whose log.
    pub attempt: AttemptId,
    /// Offset of the first byte in the attempt's log.
    pub start: u64,
    /// Bytes, uncompressed.
    pub len: u64,
    /// The stored object.
    pub pack: PackId,
    /// Where the frame begins in the object.
    pub frame_start: u64,
    /// Length of the frame in bytes.
    pub frame_len: u64,
    /// When which bytes arrived, ascending by offset; the first mark is at `start`.
    pub marks: Vec<LineMark>,
}

/// From this offset on, log bytes arrived at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineMark {
    /// Offset in the attempt's log.
    pub offset: u64,
    /// When the byte there came home.
    pub at: Timestamp,
}
