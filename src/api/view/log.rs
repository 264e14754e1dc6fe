//! Pieces of a log as they travel in an event stream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::build::{BuildStateWord, ResultWord};
use crate::model::{BuildId, Timestamp};

/// A run of log bytes; exactly one of `text` and `base64` is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogChunk {
    /// Number of the attempt whose log it is, from 1.
    pub attempt: u32,
    /// Offset of its first byte in that log.
    pub offset: u64,
    /// When it came home.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The bytes, when they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes in base64, when they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl LogChunk {
    /// Wraps bytes as text where they are text.
    pub fn new(attempt: u32, offset: u64, at: Timestamp, bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
        let base64 = text.is_none().then(|| STANDARD.encode(bytes));
        Self {
            attempt,
            offset,
            at,
            text,
            base64,
        }
    }

    /// The bytes again; none when the base64 is not base64.
    pub fn bytes(self) -> Option<Vec<u8>> {
        match (self.text, self.base64) {
            (Some(text), _) => Some(text.into_bytes()),
            (None, Some(base64)) => STANDARD.decode(base64).ok(),
            (None, None) => Some(Vec::new()),
        }
    }
}

/// The last event of a log stream: nothing follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEnd {
    /// The build.
    #[schema(value_type = String)]
    pub build: BuildId,
    /// Where it stands. Not finished only when the stream was asked for one attempt and the build
    /// goes on with another.
    pub state: BuildStateWord,
    /// How it ended.
    pub result: Option<ResultWord>,
    /// One sentence on why, for results other than success.
    pub reason: Option<String>,
    /// Number of the attempt whose log came last; none when the build never had one.
    pub attempt: Option<u32>,
    /// Length of that log in bytes.
    pub length: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive_the_trip() {
        for bytes in [
            &b"plain\n"[..],
            b"",
            b"\xff\x00\r\n\n",
            "grün".as_bytes(),
            b"gr\xc3",
        ] {
            let chunk = LogChunk::new(1, 7, Timestamp::default(), bytes);
            let json = serde_json::to_string(&chunk).unwrap();
            assert!(!json.contains(['\r', '\n']), "one line of data: {json}");
            let back: LogChunk = serde_json::from_str(&json).unwrap();
            assert_eq!(back.bytes().as_deref(), Some(bytes));
        }
    }
}
