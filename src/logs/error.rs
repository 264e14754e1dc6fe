//! What can go wrong with logs.

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{AttemptId, PackId};

use super::index::IndexError;
use super::pack;

/// Why the log room did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directory for logs cannot be used.
    #[error("cannot keep logs in {}", directory.display())]
    Open {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bucket for logs cannot be used.
    #[error("cannot keep logs in the bucket {bucket}")]
    Configure {
        /// The bucket.
        bucket: String,
        /// What is wrong with how it is described.
        source: object_store::Error,
    },
    /// A flush did not reach storage (a full disk, for one). The recorder still has the bytes.
    #[error("cannot store log bytes of {attempt} in {}", pack::path(*pack))]
    Write {
        /// Whose log.
        attempt: AttemptId,
        /// The object that was to hold them; it may exist, but nothing refers to it.
        pack: PackId,
        /// What storage said; one answer for all flushes of the pack.
        source: Arc<object_store::Error>,
    },
    /// A flush could not be compressed. The recorder still has the bytes.
    #[error("cannot compress log bytes of {attempt}")]
    Compress {
        /// Whose log.
        attempt: AttemptId,
        /// What the compressor said; one answer for all flushes of the pack.
        source: Arc<std::io::Error>,
    },
    /// The task that writes packs is gone: the runtime is shutting down.
    #[error("cannot store log bytes of {attempt}: the pack writer has stopped")]
    WriterStopped {
        /// Whose log.
        attempt: AttemptId,
    },
    /// The index did not say where the log lies.
    #[error("cannot find the log of {attempt}")]
    Index {
        /// Whose log.
        attempt: AttemptId,
        /// What the index said.
        source: IndexError,
    },
    /// The index does not know the attempt.
    #[error("there is no attempt {attempt}")]
    UnknownAttempt {
        /// As asked for.
        attempt: AttemptId,
    },
    /// The index says that bytes are stored, but has no extent with the next one; or bytes that
    /// were only in memory went away with their recorder while they were being read.
    #[error("log bytes of {attempt} from offset {offset} on are not to be found")]
    Missing {
        /// Whose log.
        attempt: AttemptId,
        /// The first byte that is missing.
        offset: u64,
    },
    /// The object that an extent names does not exist (any more).
    #[error("log bytes of {attempt} from offset {offset} on were in {}, which is gone", pack::path(*pack))]
    PackGone {
        /// Whose log.
        attempt: AttemptId,
        /// The first byte that is missing.
        offset: u64,
        /// The object.
        pack: PackId,
    },
    /// Storage did not give a frame.
    #[error("cannot read log bytes of {attempt} in {} at {frame_start}", pack::path(*pack))]
    Read {
        /// Whose log.
        attempt: AttemptId,
        /// The object.
        pack: PackId,
        /// Where the frame begins in it.
        frame_start: u64,
        /// What storage said.
        source: object_store::Error,
    },
    /// A frame is not what was written.
    #[error(
        "corrupt log frame of {attempt} in {} at {frame_start}: {detail}",
        pack::path(*pack)
    )]
    Corrupt {
        /// Whose log.
        attempt: AttemptId,
        /// The object.
        pack: PackId,
        /// Where the frame begins in it.
        frame_start: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// Packs could not be listed.
    #[error("cannot list stored log packs")]
    List {
        /// What storage said.
        source: object_store::Error,
    },
    /// A pack could not be removed.
    #[error("cannot remove {}", pack::path(*pack))]
    Remove {
        /// The object.
        pack: PackId,
        /// What storage said.
        source: object_store::Error,
    },
}
