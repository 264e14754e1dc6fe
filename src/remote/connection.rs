//! One SSH connection: connecting with a pinned host key, and opening exec channels on it.
//!
//! Servers run other people's builds and are treated as hostile: the key is compared before we log
//! in, sizes are bounded, and a panic in the protocol library ends this connection only.

use std::borrow::Cow;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use russh::client::{self, AuthResult, Msg};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, Disconnect, Preferred, cipher};
use tokio::net::TcpStream;

use super::{RemoteError, Target};

/// A server that stays silent for three of these is gone: a cut network shows within 30-40 s.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_MAX: usize = 3;
/// Ends connections on which not even the handshake goes on; longer than the keepalives need.
const INACTIVITY: Duration = Duration::from_mins(1);
/// What the server may send ahead: 8 MiB keeps 100 MB/s busy over 80 ms of round trip.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// The protocol's safe maximum; half as many packets as with the usual 32 KiB.
const PACKET_BYTES: u32 = 65_535;
/// Packets of one channel that wait for their reader before the connection does.
const CHANNEL_PACKETS: usize = 64;

/// AES in hardware is several times faster than `ChaCha20` where logs are long.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
];

/// A logged-in connection.
pub(super) struct Connection {
    handle: client::Handle<HostKey>,
    line: Line,
    address: SocketAddr,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(target: &Target, timeout: Duration) -> Result<Self, RemoteError> {
        let address = target.endpoint.address;
        tokio::time::timeout(timeout, Self::open_unhurried(target))
            .await
            .unwrap_or_else(|_| Err(unreachable(address, "timed out")))
    }

    async fn open_unhurried(target: &Target) -> Result<Self, RemoteError> {
        let address = target.endpoint.address;
        let pinned = PublicKey::from_openssh(&target.host_public)
            .map_err(|error| unusable("reading the pinned host key", &error))?;
        let key = PrivateKey::from_openssh(target.client_private.expose())
            .map_err(|error| unusable("reading our client key", &error))?;
        let (stream, line) = dial(address).await?;
        let presented = Arc::new(OnceLock::new());
        let handler = HostKey {
            pinned: pinned.clone(),
            presented: Arc::clone(&presented),
        };
        let connected = client::connect_stream(config(&pinned), stream, handler).await;
        let mut handle = connected.map_err(|error| match presented.get() {
            Some(presented) => RemoteError::WrongHostKey {
                address: address.to_string(),
                presented: presented.clone(),
                pinned: pinned.fingerprint(HashAlg::Sha256).to_string(),
            },
            None => unreachable(address, &error),
        })?;
        // The hash matters to RSA keys only; SHA-1 is refused everywhere by now.
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), Some(HashAlg::Sha512));
        match handle.authenticate_publickey(&target.user, key).await {
            Ok(AuthResult::Success) => Ok(Self {
                handle,
                line,
                address,
            }),
            Ok(AuthResult::Failure { .. }) if !handle.is_closed() => {
                Err(RemoteError::LoginRefused {
                    address: address.to_string(),
                    user: target.user.clone(),
                })
            }
            Ok(AuthResult::Failure { .. }) => Err(unreachable(address, "closed during the login")),
            Err(error) => Err(unreachable(address, &error)),
        }
    }

    /// Runs `command` with `stdin`, which stays open unless `eof`. Only the opening of the channel
    /// is waited for; command, input and its end go out together behind it.
    pub(super) async fn exec(
        &self,
        operation: &'static str,
        command: &str,
        stdin: Bytes,
        eof: bool,
    ) -> Result<Channel<Msg>, RemoteError> {
        let lost = |error| self.lost(operation, &error);
        let channel = self.handle.channel_open_session().await.map_err(lost)?;
        channel.exec(false, command).await.map_err(lost)?;
        channel.data_bytes(stdin).await.map_err(lost)?;
        if eof {
            channel.eof().await.map_err(lost)?;
        }
        Ok(channel)
    }

    /// The error for a failure of the connection.
    pub(super) fn lost(
        &self,
        operation: &'static str,
        detail: &dyn std::fmt::Display,
    ) -> RemoteError {
        RemoteError::Disconnected {
            operation,
            detail: format!("{} ({detail})", self.address),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.handle.is_closed()
    }

    pub(super) async fn close(&self) {
        let farewell = self.handle.disconnect(Disconnect::ByApplication, "", "");
        // A connection that is stuck in sending does not take the message; the socket ends it.
        let _ = tokio::time::timeout(Duration::from_millis(100), farewell).await;
        self.line.cut();
    }
}

/// The socket under a connection. Cutting it ends the library's task at once, whatever it is at;
/// so does dropping it, for example when connecting takes too long.
struct Line(std::net::TcpStream);

impl Line {
    fn cut(&self) {
        // Fails only on a socket that is cut already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn dial(address: SocketAddr) -> Result<(TcpStream, Line), RemoteError> {
    let failed = |error: std::io::Error| unreachable(address, &error);
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let stream = stream.into_std().map_err(failed)?;
    let line = Line(stream.try_clone().map_err(failed)?);
    Ok((TcpStream::from_std(stream).map_err(failed)?, line))
}

fn config(pinned: &PublicKey) -> Arc<client::Config> {
    // A server with several keys shall present the one that we know.
    let mut keys = vec![pinned.algorithm()];
    keys.extend(Preferred::DEFAULT.key.iter().cloned());
    keys.dedup();
    Arc::new(client::Config {
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        channel_buffer_size: CHANNEL_PACKETS,
        preferred: Preferred {
            key: Cow::Owned(keys),
            cipher: Cow::Borrowed(CIPHERS),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVE_MAX,
        inactivity_timeout: Some(INACTIVITY),
        nodelay: true,
        ..client::Config::default()
    })
}

/// Compares the presented key with the pinned one, before anything of ours is sent.
struct HostKey {
    pinned: PublicKey,
    presented: Arc<OnceLock<String>>,
}

impl client::Handler for HostKey {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        presented: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let fingerprint = match presented {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                if key.key_data() == self.pinned.key_data() {
                    return Ok(true);
                }
                key.fingerprint(HashAlg::Sha256)
            }
            PublicKeyOrCertificate::Certificate(certificate) => {
                certificate.public_key().fingerprint(HashAlg::Sha256)
            }
        };
        // Set at most once: a refused key ends the connection.
        let _ = self.presented.set(fingerprint.to_string());
        Ok(false)
    }
}

fn unreachable(address: SocketAddr, detail: &(impl std::fmt::Display + ?Sized)) -> RemoteError {
    RemoteError::Unreachable {
        address: address.to_string(),
        detail: detail.to_string(),
    }
}

fn unusable(operation: &'static str, error: &russh::keys::ssh_key::Error) -> RemoteError {
    RemoteError::Protocol {
        operation,
        detail: error.to_string(),
    }
}
