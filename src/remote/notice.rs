//! Waits for word that a machine is taken back: what is said to it, and what it says then.

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::call::{Call, Heard};
use super::connection::Connection;
use super::script::{SHELL, quoted};
use super::{Notice, RemoteError};
use crate::model::{Span, Timestamp};

const OPERATION: &str = "watching for interruption";
const NOTICE: &str = include_str!("notice.sh");

/// The word before a notice.
const WORD: &str = "notice ";
/// Longest answer of a machine; a notice has some 70 bytes.
const ANSWER_BYTES: usize = 16 * 1024;
/// Exit status of a machine without any program that speaks HTTP.
const NO_TOOL: u32 = 69;
/// A token is valid for six hours; it is used for four at most.
const TOKEN_USE: Span = Span::from_secs(4 * 3_600);

/// The text for a shell of the login user.
///
/// # Errors
/// [`RemoteError::Protocol`] when no shell can express the URL.
pub(super) fn script(metadata_url: &str, interval: Span) -> Result<String, RemoteError> {
    let interval = interval.max(Span::from_millis(10));
    let checks = (TOKEN_USE.micros() / interval.micros()).max(1);
    let (whole, rest) = (interval.micros() / 1_000_000, interval.micros() % 1_000_000);
    // Not every `sleep` takes a fraction; an interval without one needs none.
    let seconds = match rest {
        0 => whole.to_string(),
        rest => format!("{whole}.{rest:06}"),
    };
    let url = quoted(metadata_url.trim_end_matches('/'))?;
    Ok(format!(
        "dm_url={url}\ndm_interval={seconds}\ndm_checks={checks}\n{NOTICE}"
    ))
}

/// Runs the watch on a connection until it says something. Giving up waiting ends it.
pub(super) async fn watch(connection: &Connection, script: String) -> Result<Notice, RemoteError> {
    let channel = connection
        .exec(OPERATION, SHELL, Bytes::from(script), false)
        .await?;
    let (mut answer, heard) = oneshot::channel();
    let mut call = Call::new(channel);
    // A task of its own, because somebody must close the channel when nobody waits any more.
    tokio::spawn(async move {
        let said = tokio::select! {
            said = hear(&mut call) => Some(said),
            () = answer.closed() => None,
        };
        call.close().await;
        if let Some(said) = said {
            // Whoever gave up waiting does not need to know.
            drop(answer.send(said));
        }
    });
    match heard.await {
        Ok(Said::Line(line)) => parse(&line),
        Ok(Said::NoTool) => Err(RemoteError::NotSupported {
            operation: OPERATION,
            detail: "it has none of curl, wget, perl, python3, bash and nc".to_owned(),
        }),
        Ok(Said::Ended(detail)) if connection.is_open() => Err(protocol(&detail)),
        Ok(Said::Ended(_)) | Err(_) => Err(connection.lost(OPERATION, &"the connection ended")),
    }
}

/// What came of a watch.
enum Said {
    /// A notice, unread.
    Line(String),
    /// Nothing there speaks HTTP.
    NoTool,
    /// It ended without a word, or with these.
    Ended(String),
}

async fn hear(call: &mut Call) -> Said {
    let mut output = Vec::new();
    let mut complaint = String::new();
    loop {
        match call.hear().await {
            Heard::Output(bytes) => {
                let room = ANSWER_BYTES.saturating_sub(output.len());
                output.extend(bytes.iter().take(room));
                let text = String::from_utf8_lossy(&output);
                let mut whole = text
                    .split_inclusive('\n')
                    .filter(|line| line.ends_with('\n'));
                if let Some(line) = whole.find_map(|line| line.strip_prefix(WORD)) {
                    return Said::Line(line.to_owned());
                }
            }
            Heard::Line(line) => complaint = line,
            Heard::Exited(Some(NO_TOOL)) => return Said::NoTool,
            Heard::Exited(_) => {}
            Heard::Closed => return Said::Ended(complaint),
        }
    }
}

/// `{"action": "terminate", "time": "2026-11-21T08:22:00Z"}`, as the EC2 User Guide has it.
#[derive(Deserialize)]
struct InstanceAction {
    action: String,
    time: Timestamp,
}

fn parse(line: &str) -> Result<Notice, RemoteError> {
    let InstanceAction { action, time } = serde_json::from_str(line.trim())
        .map_err(|error| protocol(&format!("{error} in {:?}", shortened(line))))?;
    Ok(Notice { action, at: time })
}

fn shortened(line: &str) -> String {
    line.chars().take(200).collect()
}

fn protocol(detail: &str) -> RemoteError {
    RemoteError::Protocol {
        operation: OPERATION,
        detail: format!("the watch ended: {}", shortened(detail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read() {
        let read = parse("{\"action\": \"stop\", \"time\": \"2026-11-21T08:00:00Z\"}\n").unwrap();
        assert_eq!(read.action, "stop");
        assert_eq!(read.at, Timestamp::from_micros(1_795_248_000_000_000));
        for line in ["", "{}", "{\"action\": \"stop\"}", "<html>"] {
            assert!(
                matches!(parse(line), Err(RemoteError::Protocol { .. })),
                "{line}"
            );
        }
    }

    #[test]
    fn a_token_is_used_for_less_than_it_is_valid() {
        let head = |interval| {
            let text = script("http://127.0.0.1:1/it's/", interval).unwrap();
            text.lines().take(3).map(str::to_owned).collect::<Vec<_>>()
        };
        let expected = [
            "dm_url='http://127.0.0.1:1/it'\\''s'",
            "dm_interval=5",
            "dm_checks=2880",
        ];
        assert_eq!(head(Span::from_secs(5)), expected);
        assert_eq!(head(Span::from_millis(1_250))[1], "dm_interval=1.250000");
        assert_eq!(head(Span::from_secs(86_400))[2], "dm_checks=1");
    }
}
