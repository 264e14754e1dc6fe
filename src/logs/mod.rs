//! Port: the log room. Keeps what builds print, shows it while it is printed, finds it again.
//!
//! Log bytes come in through a [`Recorder`], one per attempt under way, which holds them in memory.
//! A flush compresses what the recorder holds into a frame, puts the frame into a *pack* (one
//! object, shared by all flushes that were waiting) and makes that durable; the answer is an
//! [`Extent`](crate::model::Extent) which says where the frame lies. The caller commits the extent
//! to its store, and only then does the recorder let go of the bytes. The machine keeps its log
//! file until then, so bytes must be durable when they are *counted*, not when they arrive.
//!
//! Every byte is therefore in storage and indexed, or in the recorder's tail, and the tail begins
//! where the index ends: [`Logs::read`], [`Logs::chunks`] and [`Logs::follow`] read across that
//! seam without gap or overlap. Followers have no queues: each has a position and looks up what is
//! there now, so a slow one holds up nobody and grows nothing.
//!
//! The index is the caller's; it is reached through [`ExtentIndex`]. Objects are written through
//! `object_store`, so that the same code keeps logs on a local disk and in S3.
//!
//! This room knows offsets, bytes and arrival times. It must not know builds, steps or machines,
//! write to the index, or read a clock. Callers: `engine` (records), `api` (reads, follows), `app`.

mod disk;
mod error;
mod follow;
mod frame;
mod index;
mod limit;
mod lines;
mod live;
mod marks;
mod pack;
mod reader;
mod recorder;
mod retention;
mod room;
#[cfg(feature = "ec2")]
mod s3;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

pub use error::LogError;
pub use index::{ExtentIndex, IndexError, Standing};
pub use lines::{LinePiece, LineTimes, split_at_marks};
pub use reader::Chunk;
pub use recorder::{Flush, Recorder};
pub use room::Logs;
#[cfg(feature = "ec2")]
pub use s3::Bucket;
