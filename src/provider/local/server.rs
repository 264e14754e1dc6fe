//! The SSH server of a machine: exec channels and plain shells for one user with one key.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{
    self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf,
    MethodKind, MethodSet, Sig,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use super::process::{self, Exit, Started, Surroundings};

/// Read from a process at once: as much as goes into one packet.
const READ_BYTES: usize = 64 * 1024 - 1;
/// Channels on one connection; the driver needs two or three.
const CHANNELS: usize = 64;
/// The extended data type of standard error (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// Who may log in, and what runs then.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) key: PublicKey,
    pub(super) around: Surroundings,
}

/// The settings of the protocol library.
pub(super) fn config(host_key: PrivateKey) -> Arc<server::Config> {
    Arc::new(server::Config {
        keys: vec![host_key],
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // The port is on loopback and the key is 256 bits: there is no guessing to slow down.
        auth_rejection_time: Duration::from_millis(50),
        auth_rejection_time_initial: Some(Duration::ZERO),
        maximum_packet_size: 65_535,
        event_buffer_size: 32,
        inactivity_timeout: None,
        // A client that vanished shall not keep its followers alive.
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        nodelay: true,
        ..server::Config::default()
    })
}

/// One client's connection.
pub(super) struct Client {
    login: Arc<Login>,
    /// Channels that have not been told what to run.
    fresh: HashMap<ChannelId, Channel<Msg>>,
    open: Arc<()>,
}

impl Client {
    pub(super) fn new(login: Arc<Login>) -> Self {
        Self {
            login,
            fresh: HashMap::new(),
            open: Arc::new(()),
        }
    }

    fn judge(&self, user: &str, key: &PublicKey) -> Auth {
        if user == self.login.user && key.key_data() == self.login.key.key_data() {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }

    fn run(
        &mut self,
        id: ChannelId,
        command: Option<&[u8]>,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.fresh.remove(&id) else {
            return session.channel_failure(id);
        };
        match process::start(&self.login.around, command) {
            Ok(started) => {
                session.channel_success(id)?;
                tokio::spawn(attend(
                    channel,
                    session.handle(),
                    started,
                    Arc::clone(&self.open),
                ));
                Ok(())
            }
            Err(error) => {
                session.extended_data(id, STDERR, format!("cannot start a shell: {error}\n"))?;
                session.channel_failure(id)?;
                session.close(id)
            }
        }
    }
}

impl server::Handler for Client {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.judge(user, offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.judge(user, key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.fresh.len() + Arc::strong_count(&self.open) > CHANNELS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
        } else {
            reply.accept().await;
            self.fresh.insert(channel.id(), channel);
        }
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.fresh.remove(&channel);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.run(channel, Some(command), session)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.run(channel, None, session)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }
}

/// Carries bytes between a channel and its process until both are done. As with OpenSSH, a process
/// outlives its channel; it finds its pipes closed.
async fn attend(channel: Channel<Msg>, handle: server::Handle, started: Started, _open: Arc<()>) {
    let id = channel.id();
    let (read, write) = channel.split();
    let gone = CancellationToken::new();
    let Started {
        stdin,
        stdout,
        stderr,
        exit,
    } = started;
    tokio::spawn(feed(read, stdin, gone.clone()));
    let outputs = async {
        let report = async {
            if let Ok(exit) = exit.await {
                tell(&handle, id, &write, exit).await;
            }
        };
        tokio::join!(
            carry(stdout, &write, None),
            carry(stderr, &write, Some(STDERR)),
            report
        );
        // Fails only on a connection that is gone.
        let _ = write.eof().await;
        let _ = write.close().await;
    };
    tokio::select! {
        () = outputs => {}
        () = gone.cancelled() => {}
    }
}

/// Writes what the client sends to the process. What comes after the process closed its input is
/// dropped, so that it does not stall the connection.
async fn feed(mut channel: ChannelReadHalf, stdin: pipe::Sender, gone: CancellationToken) {
    let mut stdin = Some(stdin);
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => {
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(&data).await.is_err()
                {
                    stdin = None;
                }
            }
            Some(ChannelMsg::Eof) => stdin = None,
            Some(ChannelMsg::Close) | None => break,
            // Window changes and the like are the library's business.
            Some(_) => {}
        }
    }
    gone.cancel();
}

/// Sends output of the process as the client's window allows, to its end.
async fn carry(
    mut pipe: impl AsyncRead + Unpin,
    channel: &ChannelWriteHalf<Msg>,
    extended: Option<u32>,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        match (&mut pipe)
            .take(READ_BYTES as u64)
            .read_buf(&mut buffer)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let bytes = buffer.split().freeze();
        let sent = match extended {
            None => channel.data_bytes(bytes).await,
            Some(kind) => channel.extended_data_bytes(kind, bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn tell(handle: &server::Handle, id: ChannelId, channel: &ChannelWriteHalf<Msg>, exit: Exit) {
    // Both fail only on a connection that is gone.
    match exit {
        Exit::Status(status) => {
            let _ = channel.exit_status(status.unsigned_abs()).await;
        }
        Exit::Signal(signal) => {
            let name = signal_name(signal);
            let _ = handle
                .exit_signal_request(id, name, false, String::new(), String::new())
                .await;
        }
    }
}

fn signal_name(signal: i32) -> Sig {
    match signal {
        1 => Sig::HUP,
        2 => Sig::INT,
        3 => Sig::QUIT,
        6 => Sig::ABRT,
        9 => Sig::KILL,
        11 => Sig::SEGV,
        13 => Sig::PIPE,
        14 => Sig::ALRM,
        15 => Sig::TERM,
        other => Sig::Custom(format!("{other}@dormouse")),
    }
}
