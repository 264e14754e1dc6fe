//! The machine's own process: boots, serves SSH, watches its lease, and takes everything that was
//! ever started on it with it when it ends.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use russh::keys::{PrivateKey, PublicKey};
use russh::server;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use super::layout::{Boot, Identity, Layout};
use super::process::{self, Surroundings};
use super::server::{Client, Login, config};
use super::tree;
use crate::model::Span;

/// What a login finds unless the image says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SHELL: &str = "/bin/sh";
/// Between looks at the lease; a lease is minutes, a test's is seconds.
const LEASE_TICK: Duration = Duration::from_millis(500);

/// Why a machine could not run.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The system refused something.
    #[error("{operation}")]
    System {
        /// What we were doing.
        operation: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// A key is not one.
    #[error("{operation}")]
    Key {
        /// What we were doing.
        operation: &'static str,
        /// What is wrong with it.
        #[source]
        source: russh::keys::ssh_key::Error,
    },
}

/// For errors of the system while doing `operation`.
fn system(operation: &'static str) -> impl Fn(io::Error) -> MachineError {
    move |source| MachineError::System { operation, source }
}

/// Runs the machine whose directory a [`super::LocalProvider`] has laid out, until it is told to end
/// or its lease runs out. The process must have a single thread when it calls this, and must not
/// have a runtime.
pub fn run_machine(directory: &Path) -> Result<(), MachineError> {
    let layout = Layout::new(directory.to_owned());
    detach()?;
    let identity = Identity::of(rustix::process::getpid())
        .ok_or_else(|| io::Error::other("this process is not in /proc"))
        .map_err(system("reading our own start time"))?;
    layout
        .write_identity(identity)
        .map_err(system("recording the machine's process"))?;
    let boot = layout
        .take_boot()
        .map_err(system("reading the boot file"))?;
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?
        .block_on(run(&layout, boot));
    let clean = tree::end_descendants(identity.pid);
    process::collect();
    let removed = layout
        .remove()
        .map_err(system("removing the machine's directory"));
    if !clean {
        let source = io::Error::other("processes keep starting new ones");
        return Err(system("ending the machine's processes")(source));
    }
    ended.and(removed)
}

/// Leaves the orchestrator's session, and adopts whatever loses its parent on this machine.
fn detach() -> Result<(), MachineError> {
    // Fails only for the leader of a session, which has what it wants.
    let _ = rustix::process::setsid();
    let own = Some(rustix::process::getpid());
    rustix::process::set_child_subreaper(own)
        .map_err(|error| system("adopting orphans")(error.into()))
}

async fn run(layout: &Layout, boot: Boot) -> Result<(), MachineError> {
    let listening = "listening for signals";
    let mut end = signal(SignalKind::terminate()).map_err(system(listening))?;
    let children = signal(SignalKind::child()).map_err(system(listening))?;
    let collecting = tokio::spawn(collect(children));
    let lease = watch_lease(layout.lease(), boot.lease);
    let result = tokio::select! {
        result = serve(layout, boot) => result,
        _ = end.recv() => Ok(()),
        () = lease => Ok(()),
    };
    collecting.abort();
    result
}

async fn collect(mut children: Signal) {
    while children.recv().await.is_some() {
        process::collect();
    }
}

/// Returns when the lease has run out. It counts from the last change of the file by our own
/// monotonic clock, so that no clock step ends a machine.
async fn watch_lease(file: PathBuf, first: Span) {
    let mut ticks = tokio::time::interval(LEASE_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deadline = Instant::now() + first.to_std();
    let mut seen: Option<SystemTime> = None;
    while Instant::now() < deadline {
        ticks.tick().await;
        let changed = fs::metadata(&file).and_then(|data| data.modified()).ok();
        if changed.is_none() || changed == seen {
            continue;
        }
        // Half-written, it holds no number; it is read again at the next tick.
        let text = fs::read_to_string(&file).unwrap_or_default();
        if let Ok(seconds) = text.trim().parse() {
            seen = changed;
            deadline = Instant::now() + Duration::from_secs(seconds);
        }
    }
}

async fn serve(layout: &Layout, boot: Boot) -> Result<(), MachineError> {
    let host_key = PrivateKey::from_openssh(boot.host_private.expose()).map_err(|source| {
        let operation = "reading the host key";
        MachineError::Key { operation, source }
    })?;
    let login = Arc::new(login(layout, &boot)?);
    if let Some(delay) = boot.reference.boot_delay {
        tokio::time::sleep(delay.to_std()).await;
    }
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(any_port)
        .await
        .map_err(system("opening a port"))?;
    let address = listener.local_addr().map_err(system("opening a port"))?;
    layout
        .write_endpoint(address)
        .map_err(system("publishing the port"))?;
    let config = config(host_key);
    loop {
        // A failed accept is the client's problem, or passes: too many open files.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(welcome(Arc::clone(&config), stream, Arc::clone(&login)));
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn welcome(config: Arc<server::Config>, stream: TcpStream, login: Arc<Login>) {
    // It only costs latency.
    let _ = stream.set_nodelay(true);
    if let Ok(session) = server::run_stream(config, stream, Client::new(login)).await {
        // Ends with the connection; how, the client knows better.
        let _ = session.await;
    }
}

fn login(layout: &Layout, boot: &Boot) -> Result<Login, MachineError> {
    let key = PublicKey::from_openssh(&boot.client_public).map_err(|source| {
        let operation = "reading the client key";
        MachineError::Key { operation, source }
    })?;
    let (home, temporary) = (layout.home(), layout.temporary());
    for directory in [&home, &temporary, &home.join(".dormouse")] {
        fs::create_dir_all(directory).map_err(system("making the machine's directories"))?;
    }
    let shell = boot
        .reference
        .shell
        .clone()
        .unwrap_or_else(|| PathBuf::from(SHELL));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let environment = [
        ("HOME", text(&home)),
        ("USER", boot.user.clone()),
        ("LOGNAME", boot.user.clone()),
        ("SHELL", text(&shell)),
        (
            "PATH",
            boot.reference
                .path
                .clone()
                .unwrap_or_else(|| PATH.to_owned()),
        ),
        ("LANG", "C.UTF-8".to_owned()),
        ("TMPDIR", text(&temporary)),
        (tree::MARKER, boot.machine.to_string()),
    ];
    let environment = environment
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
    Ok(Login {
        user: boot.user.clone(),
        key,
        around: Surroundings {
            shell,
            home,
            environment,
        },
    })
}
