//! Bringing log bytes to standard output: every byte once, in order, across dropped connections.

use futures::StreamExt as _;

use super::client::{CallError, Client, Follow, Patience, Query};
use super::output::Output;
use super::report::Outcome;
use crate::api::view::{LogChunk, LogEnd};
use crate::model::{BuildId, Timestamp};

/// Some bytes of one attempt's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Which attempt.
    pub(super) attempt: u32,
    /// First byte.
    pub(super) from: u64,
    /// Behind the last byte.
    pub(super) until: u64,
}

/// What to stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// Whose log.
    pub(super) build: BuildId,
    /// One attempt, or from the present one on.
    pub(super) attempt: Option<u32>,
    /// First byte.
    pub(super) from: u64,
    /// Behind the last byte; `None` for the end of the build.
    pub(super) until: Option<u64>,
    /// Whether each line begins with its time.
    pub(super) timestamps: bool,
}

/// Copies a part of a log to standard output, going on where a connection was dropped.
pub(super) async fn copy(
    client: &Client,
    output: Output,
    build: BuildId,
    mut part: Part,
) -> Outcome<()> {
    let mut patience = Patience::new(output);
    while part.from < part.until {
        let before = part.from;
        let error = copy_once(client, output, build, &mut part).await?;
        if part.from > before {
            patience.renew();
        }
        if part.from < part.until {
            patience.wait(error).await?;
        }
    }
    Ok(())
}

/// Copies over one connection until it ends; why it did.
async fn copy_once(
    client: &Client,
    output: Output,
    build: BuildId,
    part: &mut Part,
) -> Outcome<CallError> {
    let query = [
        ("attempt", part.attempt.to_string()),
        ("offset", part.from.to_string()),
        ("limit", (part.until - part.from).to_string()),
    ];
    let build = build.to_string();
    let request = client
        .request(reqwest::Method::GET, &["builds", &build, "log"])
        .query(&query);
    let mut body = match client.stream(request).await {
        Ok(body) => body,
        Err(error) => return Ok(error),
    };
    while let Some(piece) = body.next().await {
        let bytes = match piece {
            Ok(bytes) => bytes,
            Err(error) => return Ok(error),
        };
        part.from += bytes.len() as u64;
        output.bytes(&bytes)?;
    }
    Ok(client.cut("the log ended too early"))
}

/// Streams a log to standard output as it comes, until its end.
pub(super) async fn stream(client: &Client, output: Output, wish: Wish) -> Outcome<()> {
    let mut query = Query::from([("offset", wish.from.to_string())]);
    query.extend(wish.attempt.map(|number| ("attempt", number.to_string())));
    let build = wish.build.to_string();
    let path = ["builds", build.as_str(), "log", "stream"];
    let mut follow = Follow::new(client, &path, query, output);
    let mut place = Place::default();
    let mut stamper = Stamper::default();
    while wish
        .until
        .is_none_or(|until| place.offset.max(wish.from) < until)
    {
        let event = follow.next().await?;
        match event.kind.as_str() {
            "log" => {
                let chunk: LogChunk = parse(client, &event.data)?;
                let (attempt, at) = (chunk.attempt, chunk.at);
                if place.attempt.is_some_and(|before| before != attempt) {
                    output.note(&format!("attempt {attempt} begins"));
                }
                let bytes = place
                    .take(chunk, wish.until)
                    .map_err(|problem| client.garbled(&problem.to_string()))?;
                if output.is_json() {
                    let offset = place.offset - bytes.len() as u64;
                    output.json_line(&LogChunk::new(attempt, offset, at, &bytes))?;
                } else if wish.timestamps {
                    output.bytes(&stamper.stamp(&bytes, at))?;
                } else {
                    output.bytes(&bytes)?;
                }
            }
            "end" => {
                let end: LogEnd = parse(client, &event.data)?;
                let complete = place.attempt.is_none() || place.offset >= end.length;
                if complete {
                    return Ok(());
                }
                return Err(client.garbled("the log ended before its last byte").into());
            }
            // Kinds that a later server may send mean nothing to us.
            _ => {}
        }
    }
    Ok(())
}

fn parse<T: serde::de::DeserializeOwned>(client: &Client, data: &str) -> Result<T, CallError> {
    serde_json::from_str(data).map_err(|error| client.garbled(&error.to_string()))
}

/// How far a stream has come.
#[derive(Debug, Default)]
struct Place {
    attempt: Option<u32>,
    offset: u64,
}

/// A piece that does not follow on what came before.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum PlaceError {
    /// Bytes are missing.
    #[error("the log of attempt {attempt} goes on at byte {got}, expected {expected}")]
    Gap {
        attempt: u32,
        expected: u64,
        got: u64,
    },
    /// It belongs to an attempt that was over.
    #[error("attempt {got} came after attempt {current}")]
    Back { current: u32, got: u32 },
    /// Its bytes cannot be read.
    #[error("a piece of the log is not base64")]
    Encoding,
}

impl Place {
    /// The bytes of a piece that are new and lie before `until`; moves on behind them.
    fn take(&mut self, chunk: LogChunk, until: Option<u64>) -> Result<Vec<u8>, PlaceError> {
        let (attempt, start) = (chunk.attempt, chunk.offset);
        let mut bytes = chunk.bytes().ok_or(PlaceError::Encoding)?;
        match self.attempt {
            // The server chose where to begin.
            None => self.offset = start,
            Some(current) if current == attempt => {}
            Some(current) if current > attempt => {
                return Err(PlaceError::Back {
                    current,
                    got: attempt,
                });
            }
            Some(_) => self.offset = 0,
        }
        self.attempt = Some(attempt);
        let known = self.offset.checked_sub(start).ok_or(PlaceError::Gap {
            attempt,
            expected: self.offset,
            got: start,
        })?;
        let known = usize::try_from(known)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        bytes.drain(..known);
        if let Some(until) = until {
            let room = usize::try_from(until.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            bytes.truncate(room);
        }
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}

/// Puts times before lines.
#[derive(Debug, Default)]
struct Stamper {
    inside_line: bool,
}

impl Stamper {
    /// The bytes with `at` before each line that begins in them.
    fn stamp(&mut self, bytes: &[u8], at: Timestamp) -> Vec<u8> {
        let mut stamped = Vec::with_capacity(bytes.len() + 64);
        let prefix = format!("{at} ");
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.inside_line {
                stamped.extend_from_slice(prefix.as_bytes());
            }
            stamped.extend_from_slice(line);
            self.inside_line = !line.ends_with(b"\n");
        }
        stamped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn chunk(attempt: u32, offset: u64, bytes: &[u8]) -> LogChunk {
        LogChunk::new(attempt, offset, AT, bytes)
    }

    #[test]
    fn repeated_bytes_are_dropped_and_missing_ones_noticed() {
        let mut place = Place::default();
        assert_eq!(place.take(chunk(1, 0, b"abc"), None).unwrap(), b"abc");
        assert_eq!(place.take(chunk(1, 1, b"bcde"), None).unwrap(), b"de");
        assert_eq!(place.take(chunk(1, 0, b"ab"), None).unwrap(), b"");
        assert_eq!(
            place.take(chunk(1, 9, b"x"), None),
            Err(PlaceError::Gap {
                attempt: 1,
                expected: 5,
                got: 9
            })
        );
    }

    #[test]
    fn a_new_attempt_begins_at_its_first_byte() {
        let mut place = Place::default();
        place.take(chunk(1, 7, b"abc"), None).unwrap();
        assert_eq!(place.take(chunk(2, 0, b"\xff"), None).unwrap(), b"\xff");
        assert!(place.take(chunk(2, 5, b"x"), None).is_err());
        assert_eq!(
            place.take(chunk(1, 10, b"late"), None),
            Err(PlaceError::Back { current: 2, got: 1 })
        );
    }

    #[test]
    fn a_part_ends_where_it_was_told_to() {
        let mut place = Place::default();
        assert_eq!(place.take(chunk(1, 5, b"abcdef"), Some(8)).unwrap(), b"abc");
        assert_eq!(place.offset, 8);
    }

    #[test]
    fn times_stand_before_each_line_once() {
        let mut stamper = Stamper::default();
        let mut text = stamper.stamp(b"one\ntw", AT);
        text.extend(stamper.stamp(b"o\n\xff", AT));
        let at = AT.to_string();
        let expected = [format!("{at} one\n{at} two\n{at} ").as_bytes(), b"\xff"].concat();
        assert_eq!(text, expected);
    }
}
