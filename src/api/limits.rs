//! Every limit of the API, each with its reason.

use std::time::Duration;

/// Largest request body. The largest pipeline documents in the wild are some 100 KB; a catalogue of
/// hundreds of image files still fits.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Rows of a page when the client does not say: a screenful or two.
pub const DEFAULT_PAGE_ROWS: u32 = 50;

/// Most rows of a page: keeps the answer under about half a megabyte and the query under its budget.
pub const MAX_PAGE_ROWS: u32 = 200;

/// Most rows of a cost report: more than a year of days, or every project and image there is.
pub const MAX_COST_ROWS: u32 = 1_000;

/// Longest `Idempotency-Key`: room for a UUID, a commit hash and a job name.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 200;

/// Longest name of a token: fits a column and a log line.
pub const MAX_TOKEN_NAME_CHARS: usize = 100;

/// Time from the request's head to the answer's head. Bodies of logs and streams are not under it.
/// The slowest honest request is a cost report over a long history.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Most event streams (logs and events) at once: each holds a socket, some buffers and a timer, and
/// asks the store ten times a second when the system is busy.
pub const MAX_STREAMS: usize = 256;

/// Longest life of an event stream, after which the client connects again with its last event id. A
/// revoked token reads no longer than this.
pub const MAX_STREAM_AGE: Duration = Duration::from_hours(1);

/// Quiet time after which a stream sends a comment, so that proxies and clients keep it open; common
/// proxies cut after 30 to 60 s.
pub const STREAM_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream asks the store at least this often, nudged or not: a lost nudge costs no more than this.
pub const STREAM_POLL: Duration = Duration::from_secs(2);

/// A stream asks the store no more often than this, however often it is nudged.
pub const STREAM_PACE: Duration = Duration::from_millis(50);

/// Most log bytes in one event: bounds the memory of a stream, and is large enough that encoding,
/// not framing, is the cost.
pub const MAX_LOG_EVENT_BYTES: usize = 64 * 1024;

/// Most connections at once: well above what clients of one team open, well below the usual limit of
/// 1,024 open files with room for machines and the database.
pub const MAX_CONNECTIONS: usize = 512;

/// Largest head of a request: a token, a cursor and what proxies add fit many times.
pub const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Time a client has to send a request's head; also how long an idle connection is kept.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Pause after the listener failed, for want of open files: the condition does not pass at once, and
/// asking again at full speed would only burn a processor.
pub const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long a token that was found is believed. A token revoked through this server is forgotten at
/// once; one revoked by another replica works this much longer.
pub const TOKEN_CACHE_SECONDS: u64 = 5;

/// Most tokens remembered: far above the number that one team has.
pub const MAX_CACHED_TOKENS: usize = 256;

/// Pipelines have thousands of builds at most; this ends the walk should a row lie about its count.
pub const MAX_PIPELINE_BUILDS: usize = 10_000;
