//! A stream through a jump host: a channel of the connection to it, and a task that carries bytes
//! between the channel and the connection to the machine.
//!
//! The channels of a connection share one reader, which waits for the slowest of them. A machine
//! whose log nobody takes at the moment must not hold up all others behind the same host, so the
//! task takes whatever arrives, always. What it holds is bounded by what the machine may send
//! unasked, the windows of its connection's channels; one that sends more than that is cut off.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;

/// Between the task and the connection to the machine; a packet of the protocol fits.
const SEAM_BYTES: usize = 128 * 1024;
/// Four windows of 8 MiB. A machine has one log that is followed, and its short calls together send
/// less than a second one would.
const BACKLOG_BYTES: usize = 32 * 1024 * 1024;

/// Why there is no tunnel.
pub(super) enum Refused {
    /// The host said so.
    By(ChannelOpenFailure),
    /// The connection to the host failed.
    Lost(String),
}

/// Opens a stream to `to`; the token cuts it. Giving up waiting, or dropping the stream, closes the
/// channel too, even when the host answers only later.
pub(super) async fn open(
    connection: Arc<Connection>,
    to: SocketAddr,
) -> Result<(DuplexStream, CancellationToken), Refused> {
    let (near, far) = duplex(SEAM_BYTES);
    let cut = CancellationToken::new();
    let (answer, opened) = oneshot::channel();
    tokio::spawn(carry(connection, to, far, answer, cut.clone()));
    match opened.await {
        Ok(Ok(())) => Ok((near, cut)),
        Ok(Err(refused)) => Err(refused),
        Err(_) => Err(Refused::Lost("the tunnel failed".to_owned())),
    }
}

async fn carry(
    connection: Arc<Connection>,
    to: SocketAddr,
    far: DuplexStream,
    answer: oneshot::Sender<Result<(), Refused>>,
    cut: CancellationToken,
) {
    let channel = match connection.forward(to).await {
        Ok(channel) => channel,
        Err(error) => {
            let refused = if let russh::Error::ChannelOpenFailure(why) = error {
                Refused::By(why)
            } else {
                Refused::Lost(error.to_string())
            };
            // Whoever gave up waiting does not need to know.
            drop(answer.send(Err(refused)));
            return;
        }
    };
    let (from_machine, to_machine) = channel.split();
    if answer.send(Ok(())).is_ok() {
        let (from_us, to_us) = split(far);
        tokio::select! {
            () = inward(from_machine, to_us) => {}
            () = outward(from_us, &to_machine) => {}
            () = cut.cancelled() => {}
        }
    }
    // Fails only on a connection that is gone, and the channel with it.
    let _ = to_machine.close().await;
}

/// What the machine sends, until it sends nothing more or far too much.
async fn inward(mut machine: ChannelReadHalf, mut us: WriteHalf<DuplexStream>) {
    let mut backlog: VecDeque<Bytes> = VecDeque::new();
    let mut waiting = 0;
    loop {
        let first: &[u8] = backlog.front().map_or(&[], |bytes| bytes);
        tokio::select! {
            message = machine.wait() => match message {
                Some(ChannelMsg::Data { data }) => {
                    waiting += data.len();
                    backlog.push_back(data);
                }
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => break,
                // The rest of the protocol says nothing of interest here.
                Some(_) => {}
            },
            written = us.write(first), if !first.is_empty() => {
                let Ok(count) = written else { return };
                waiting -= count;
                advance(&mut backlog, count);
            }
        }
        if waiting > BACKLOG_BYTES {
            tracing::warn!("a machine behind a jump host sends more than it may");
            return;
        }
    }
    for bytes in backlog {
        if us.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn advance(backlog: &mut VecDeque<Bytes>, count: usize) {
    if let Some(first) = backlog.front_mut() {
        first.advance(count);
        if first.is_empty() {
            backlog.pop_front();
        }
    }
}

/// What we send; the host's window is waited for.
async fn outward(mut us: ReadHalf<DuplexStream>, machine: &ChannelWriteHalf<Msg>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(SEAM_BYTES);
        match us.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if machine.data_bytes(buffer.split().freeze()).await.is_err() {
            return;
        }
    }
}
