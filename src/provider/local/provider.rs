//! The provider's side: lays out a machine's directory, starts its process, finds it again, ends it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::layout::{Boot, Identity, Layout, Reference};
use super::tree;
use crate::model::{InstanceId, MachineId, Span};
use crate::provider::{
    AbsenceProof, ErrorKind, Instance, InstanceState, LaunchRequest, Listing, Origin, Provider,
    ProviderError,
};

/// How long a machine may take to end its processes and remove its directory before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);
const END_POLL: Duration = Duration::from_millis(5);

/// Machines as processes of this host.
#[derive(Debug, Clone)]
pub struct LocalProvider {
    name: String,
    root: PathBuf,
    program: PathBuf,
}

impl LocalProvider {
    /// Machines below the directory `root`, each run by `program local-machine --dir DIR`, for
    /// images that name the provider `name`. Several providers must not share a root.
    pub fn new(name: String, root: PathBuf, program: PathBuf) -> Self {
        Self {
            name,
            root,
            program,
        }
    }

    fn layout(&self, machine: MachineId) -> Layout {
        Layout::new(self.root.join(machine.to_string()))
    }

    /// Lays out the machine's directory and starts its process, unless that was done before.
    fn launch_once(&self, request: &LaunchRequest) -> Result<Instance, ProviderError> {
        let operation = "launching a local machine";
        let reference = reference(&request.image.spec.reference)?;
        let unknown = |error: io::Error| failed(operation, ErrorKind::Unknown, &error);
        let layout = self.layout(request.machine);
        let mut maker = fs::DirBuilder::new();
        // Not readable for others: it will hold a private key and what builds write.
        maker
            .mode(0o700)
            .recursive(true)
            .create(layout.directory())
            .map_err(unknown)?;
        let launch = layout.open_launch().map_err(unknown)?;
        // Of several launches of one machine, the first does the work, the others wait for it.
        flock(&launch, FlockOperation::LockExclusive).map_err(|error| unknown(error.into()))?;
        if layout.identity().map_err(unknown)?.is_none() {
            let boot = Boot {
                machine: request.machine,
                host_private: request.keys.host_private.clone(),
                client_public: request.keys.client_public.clone(),
                user: request.image.spec.login.user.clone(),
                lease: request.lease,
                reference,
            };
            layout.write_boot(&boot).map_err(unknown)?;
            if let Err(error) = self.spawn(&layout) {
                layout.remove().map_err(unknown)?;
                return Err(failed(operation, ErrorKind::Config, &error));
            }
        }
        look(request.machine, &layout).map_err(unknown)
    }

    /// Starts the machine's process, which belongs to nobody: it outlives us, and when it ends while
    /// we live, the runtime collects it.
    fn spawn(&self, layout: &Layout) -> io::Result<()> {
        let console = fs::File::create(layout.console())?;
        let child = tokio::process::Command::new(&self.program)
            .arg("local-machine")
            .arg("--dir")
            .arg(layout.directory())
            .env_clear()
            .current_dir(layout.directory())
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        match pid.and_then(Identity::of) {
            // The machine writes the same; whoever comes first, a listing finds it at once.
            Some(identity) => layout.write_identity(identity),
            None => Err(io::Error::other("it ended at once")),
        }
    }

    fn list_once(&self) -> io::Result<Vec<Instance>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut instances = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(Ok(machine)) = name.to_str().map(str::parse::<MachineId>) else {
                // Not ours, then not touched.
                continue;
            };
            let layout = Layout::new(entry.path());
            let instance = match look(machine, &layout) {
                Ok(instance) => instance,
                // It ended while we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if instance.state == InstanceState::Terminated {
                clear(machine, &layout)?;
            }
            instances.push(instance);
        }
        instances.sort_by(|one, two| one.id.cmp(&two.id));
        Ok(instances)
    }

    async fn end(&self, id: &InstanceId) -> Result<(), ProviderError> {
        let operation = "ending a local machine";
        let machine: MachineId =
            id.0.parse()
                .map_err(|error| failed(operation, ErrorKind::Config, &error))?;
        let layout = self.layout(machine);
        let unknown = |error: io::Error| failed(operation, ErrorKind::Unknown, &error);
        let identity = blocking({
            let layout = layout.clone();
            move || layout.identity()
        });
        if let Some(identity) = identity.await.map_err(unknown)? {
            ask_to_end(identity).await;
        }
        blocking(move || clear(machine, &layout))
            .await
            .map_err(unknown)
    }
}

/// Asks politely, waits, then forces.
async fn ask_to_end(identity: Identity) {
    for signal in [Signal::TERM, Signal::KILL] {
        if !identity.is_alive() {
            return;
        }
        // Fails only when it has just ended.
        let _ = kill_process(identity.pid, signal);
        let deadline = Instant::now() + END_TIMEOUT;
        while identity.is_alive() && Instant::now() < deadline {
            sleep(END_POLL).await;
        }
    }
}

/// Ends what a dead machine left running and removes its directory.
fn clear(machine: MachineId, layout: &Layout) -> io::Result<()> {
    if !layout.directory().exists() {
        return Ok(());
    }
    if !tree::end_marked(machine) {
        return Err(io::Error::other(
            "processes of the machine keep starting new ones",
        ));
    }
    layout.remove()
}

/// What the machine's directory says about it.
fn look(machine: MachineId, layout: &Layout) -> io::Result<Instance> {
    let (state, endpoint) = match layout.identity()? {
        Some(identity) if identity.is_alive() => match layout.endpoint()? {
            Some(endpoint) => (InstanceState::Running, Some(endpoint)),
            None => (InstanceState::Pending, None),
        },
        None if is_launching(layout)? => (InstanceState::Pending, None),
        // Its process has ended, or whoever launched it died before it had one.
        Some(_) | None => (InstanceState::Terminated, None),
    };
    Ok(Instance {
        id: InstanceId(machine.to_string()),
        origin: Origin::Machine(machine),
        state,
        endpoints: endpoint.into_iter().collect(),
        launched_at: layout.launched_at()?,
        pool: None,
        why: None,
        is_reclaimed: false,
    })
}

fn is_launching(layout: &Layout) -> io::Result<bool> {
    let launch = layout.open_launch()?;
    match flock(&launch, FlockOperation::NonBlockingLockExclusive) {
        // It may have got its process between our looks.
        Ok(()) => Ok(layout.identity()?.is_some()),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn reference(value: &serde_json::Value) -> Result<Reference, ProviderError> {
    if value.is_null() {
        return Ok(Reference::default());
    }
    let operation = "reading the image's reference";
    let reference: Reference = serde_json::from_value(value.clone())
        .map_err(|error| failed(operation, ErrorKind::Config, &error))?;
    match reference.shell.as_deref().map(Path::exists) {
        Some(false) => {
            let message = "its shell does not exist";
            Err(failed(operation, ErrorKind::Config, &message))
        }
        Some(true) | None => Ok(reference),
    }
}

fn failed(
    operation: &'static str,
    kind: ErrorKind,
    message: &dyn std::fmt::Display,
) -> ProviderError {
    ProviderError {
        operation,
        kind,
        message: message.to_string(),
        pools: Vec::new(),
    }
}

/// Runs file work off the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[async_trait]
impl Provider for LocalProvider {
    fn name(&self) -> &str {
        &self.name
    }

    /// A listing reads the directory and the process table of this very moment.
    fn absence_proof(&self) -> AbsenceProof {
        AbsenceProof {
            listings: 2,
            over: Span::ZERO,
        }
    }

    async fn launch(&self, request: &LaunchRequest) -> Result<Instance, ProviderError> {
        let (provider, request) = (self.clone(), request.clone());
        let launching = tokio::task::spawn_blocking(move || provider.launch_once(&request));
        launching.await.unwrap_or_else(|error| {
            let operation = "launching a local machine";
            Err(failed(operation, ErrorKind::Unknown, &error))
        })
    }

    async fn list(&self) -> Result<Listing, ProviderError> {
        let provider = self.clone();
        let instances = blocking(move || provider.list_once())
            .await
            .map_err(|error| failed("listing local machines", ErrorKind::Unknown, &error))?;
        Ok(Listing {
            complete: true,
            instances,
        })
    }

    async fn terminate(&self, ids: &[InstanceId]) -> Vec<Result<(), ProviderError>> {
        join_all(ids.iter().map(|id| self.end(id))).await
    }
}
