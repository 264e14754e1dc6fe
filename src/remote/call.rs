//! One exec channel as its reader hears it: output, control lines, the end.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

use super::CommandOutput;

/// Output that has arrived is joined up to this size: fewer, larger events for a log in full flow.
const JOINED_BYTES: usize = 256 * 1024;
/// Longest control line; ours have below 80 bytes, a shell's complaint rarely more than this.
const LINE_BYTES: usize = 1024;
/// Control lines that wait; more come only from a server that plays games.
const LINES: usize = 64;
/// Kept of each output of a short command.
const OUTPUT_BYTES: usize = 64 * 1024;
/// The extended data type of standard error (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// What is heard on a channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Standard output.
    Output(Bytes),
    /// A line of standard error.
    Line(String),
    /// The command has ended: status, or `None` for a signal. Output may still follow.
    Exited(Option<u32>),
    /// Nothing comes any more.
    Closed,
}

/// An open exec channel.
pub(super) struct Call {
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    /// A message that was taken in while looking for more output.
    ahead: Option<ChannelMsg>,
    lines: Lines,
}

impl Call {
    pub(super) fn new(channel: Channel<Msg>) -> Self {
        let (read, write) = channel.split();
        Self {
            read,
            write,
            ahead: None,
            lines: Lines::default(),
        }
    }

    /// The next thing. Safe to cancel: nothing that was received is lost.
    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            if let Some(line) = self.lines.next() {
                return Heard::Line(line);
            }
            let message = match self.ahead.take() {
                Some(message) => Some(message),
                None => self.read.wait().await,
            };
            match message {
                Some(ChannelMsg::Data { data }) => return Heard::Output(self.join(data)),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => self.lines.push(&data),
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    return Heard::Exited(Some(exit_status));
                }
                Some(ChannelMsg::ExitSignal { .. }) => return Heard::Exited(None),
                Some(ChannelMsg::Close) | None => return Heard::Closed,
                // The rest of the protocol says nothing of interest here.
                Some(_) => {}
            }
        }
    }

    /// Joins output with what follows it directly and is here already; waits for nothing.
    fn join(&mut self, first: Bytes) -> Bytes {
        let mut joined = BytesMut::new();
        let mut length = first.len();
        while length < JOINED_BYTES {
            match self.read.wait().now_or_never() {
                Some(Some(ChannelMsg::Data { data })) => {
                    if joined.is_empty() {
                        joined.reserve(JOINED_BYTES);
                        joined.extend_from_slice(&first);
                    }
                    joined.extend_from_slice(&data);
                    length += data.len();
                }
                Some(other) => {
                    self.ahead = Some(other.unwrap_or(ChannelMsg::Close));
                    break;
                }
                None => break,
            }
        }
        if joined.is_empty() {
            first
        } else {
            joined.freeze()
        }
    }

    /// Says something to the command; more may follow.
    pub(super) async fn say(&self, text: String) -> Result<(), russh::Error> {
        self.write.data_bytes(Bytes::from(text)).await
    }

    /// Says something to the command, and that nothing follows.
    pub(super) async fn say_last(&self, text: &'static str) -> Result<(), russh::Error> {
        self.write
            .data_bytes(Bytes::from_static(text.as_bytes()))
            .await?;
        self.write.eof().await
    }

    /// Closes the channel; the command may go on.
    pub(super) async fn close(&self) {
        // Fails only on a connection that is gone, and the channel with it.
        let _ = self.write.close().await;
    }

    /// Collects a short command's output, as it is, to its end; `None` when the channel closed
    /// without an exit.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the protocol has messages that say nothing here, and may get more"
    )]
    pub(super) async fn collect(mut self) -> Option<CommandOutput> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut exit = None;
        while let Some(message) = self.read.wait().await {
            match message {
                ChannelMsg::Data { data } => keep(&mut stdout, &data),
                ChannelMsg::ExtendedData { data, ext: STDERR } => keep(&mut stderr, &data),
                ChannelMsg::ExitStatus { exit_status } => exit = Some(Some(exit_status)),
                ChannelMsg::ExitSignal { .. } => exit = Some(None),
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        exit.map(|status| CommandOutput {
            status,
            stdout,
            stderr,
        })
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = OUTPUT_BYTES.saturating_sub(kept.len());
    kept.extend(bytes.iter().take(room));
}

/// Cuts standard error into lines.
#[derive(Debug, Default)]
struct Lines {
    whole: VecDeque<String>,
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' && self.partial.len() < LINE_BYTES {
                self.partial.push(*byte);
                continue;
            }
            if self.whole.len() < LINES {
                let line = String::from_utf8_lossy(&self.partial).into_owned();
                self.whole.push_back(line);
            }
            self.partial.clear();
        }
    }

    fn next(&mut self) -> Option<String> {
        self.whole.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_bounded_and_counted() {
        let mut lines = Lines::default();
        lines.push(b"one\ntw");
        lines.push(b"o\nthree");
        assert_eq!(lines.next().as_deref(), Some("one"));
        assert_eq!(lines.next().as_deref(), Some("two"));
        assert_eq!(lines.next(), None);
        assert_eq!(lines.partial, b"three");
        lines.push(&vec![b'x'; 10 * LINE_BYTES * LINES]);
        assert!(lines.whole.len() <= LINES);
        assert!(lines.partial.len() <= LINE_BYTES);
    }
}
