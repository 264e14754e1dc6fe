//! Machines to test on: two kinds of SSH server, several kinds of shell.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dormouse::model::{
    Capabilities, Endpoint, Image, ImageSpec, ImageState, InstanceId, Login, MachineId,
    MachineKeys, Rate, Shape, Span, Timestamp,
};
use dormouse::provider::local::LocalProvider;
use dormouse::provider::{Instance, InstanceState, LaunchRequest, Origin, Provider};
use dormouse::remote::{Remote, Session, Ssh, Target, machine_keys};
use tempfile::TempDir;

use crate::run::PATIENCE;

#[path = "openssh.rs"]
pub(crate) mod openssh;

pub(crate) use openssh::OpenSsh;

/// The kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// A machine of the local provider.
    Local,
    /// Stock OpenSSH.
    OpenSsh,
}

/// What is `sh` on the machine and its user's login shell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shell {
    /// The program.
    pub(crate) program: &'static str,
    /// What the runner shall believe of the machine, over what it found.
    pub(crate) beliefs: &'static str,
}

/// A machine with a session to it.
pub(crate) struct Host {
    pub(crate) target: Target,
    pub(crate) session: Arc<dyn Session>,
    pub(crate) home: PathBuf,
    knows_processes: bool,
    running: Running,
    _directory: TempDir,
}

enum Running {
    Local(LocalProvider, MachineId),
    OpenSsh(OpenSsh),
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Self::Local(provider, machine) => {
                let (provider, id) = (provider.clone(), instance(*machine));
                // A drop cannot wait for a future of the test's runtime; a thread with one can.
                let ending = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build();
                    runtime.unwrap().block_on(provider.terminate(&[id]))
                });
                let ended = ending.join().unwrap();
                assert!(
                    std::thread::panicking() || ended.iter().all(Result::is_ok),
                    "{ended:?}"
                );
            }
            // Ends by itself.
            Self::OpenSsh(_) => {}
        }
    }
}

/// Longer than any test.
const LEASE: Span = Span::from_secs(600);

impl Host {
    pub(crate) async fn start(server: Server, shell: Shell) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        assert!(
            Path::new(shell.program).exists(),
            "{} must be installed",
            shell.program
        );
        symlink(shell.program, bin.join("sh")).unwrap();
        let (target, home, running) = match server {
            Server::Local => local(directory.path(), &bin).await,
            Server::OpenSsh => {
                let path = format!("{}:/usr/bin:/bin", bin.display());
                let server = OpenSsh::start(directory.path(), &bin, &path, "");
                let target = server.target.clone();
                (target, server.home.clone(), Running::OpenSsh(server))
            }
        };
        let session = Ssh::default()
            .connect(&target, Span::from_secs(20))
            .await
            .unwrap();
        let host = Self {
            target,
            session,
            home,
            knows_processes: !shell.beliefs.contains("dm_proc=no"),
            running,
            _directory: directory,
        };
        host.session.prepare(LEASE).await.unwrap();
        host.persuade(shell.beliefs).await;
        host
    }

    /// Another session to the same machine.
    pub(crate) async fn connect(&self) -> Arc<dyn Session> {
        Ssh::default()
            .connect(&self.target, Span::from_secs(20))
            .await
            .unwrap()
    }

    /// Whether the runner can find processes by their environment.
    pub(crate) fn knows_processes(&self) -> bool {
        self.knows_processes
    }

    /// The server, where it is OpenSSH.
    pub(crate) fn openssh(&self) -> &OpenSsh {
        match &self.running {
            Running::OpenSsh(server) => server,
            Running::Local(..) => panic!("not an OpenSSH server"),
        }
    }

    /// The attempt's directory on the machine.
    pub(crate) fn directory(&self, attempt: dormouse::model::AttemptId) -> PathBuf {
        self.home.join(".dormouse").join(attempt.to_string())
    }

    async fn persuade(&self, beliefs: &str) {
        if !beliefs.is_empty() {
            let command = format!("for f in .dormouse/runner-*; do printf '{beliefs}' >>$f; done");
            let told = self
                .session
                .command(&command, Bytes::new(), Span::from_secs(20))
                .await;
            assert_eq!(told.unwrap().status, Some(0));
        }
    }
}

pub(crate) fn keys(machine: MachineId) -> MachineKeys {
    let seed = |salt: u8| {
        let mut seed = [salt; 32];
        seed[..16].copy_from_slice(&machine.bits().to_be_bytes());
        seed
    };
    machine_keys(machine, &seed(1), &seed(2)).unwrap()
}

async fn local(directory: &Path, bin: &Path) -> (Target, PathBuf, Running) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_dormouse"));
    let root = directory.join("machines");
    let provider = LocalProvider::new("local".to_owned(), root.clone(), program);
    let machine = MachineId::from_bits(crate::run::attempt().bits());
    let request = launch_request(
        machine,
        serde_json::json!({
            "path": format!("{}:/usr/bin:/bin", bin.display()),
            "shell": bin.join("sh"),
        }),
        Span::from_secs(600),
    );
    provider.launch(&request).await.unwrap();
    let endpoint = running(&provider, machine).await;
    let target = Target {
        endpoint,
        user: request.image.spec.login.user.clone(),
        client_private: request.keys.client_private.clone(),
        host_public: request.keys.host_public.clone(),
        jump: None,
    };
    let home = root.join(machine.to_string()).join("home");
    (target, home, Running::Local(provider, machine))
}

/// What launches a machine with this reference.
pub(crate) fn launch_request(
    machine: MachineId,
    reference: serde_json::Value,
    lease: Span,
) -> LaunchRequest {
    let shape = Shape {
        name: "small".to_owned(),
        vcpus: 1,
        memory_mib: 512,
        price_usd_micro_per_hour: Rate::default(),
    };
    let spec = ImageSpec {
        description: String::new(),
        provider: "local".to_owned(),
        reference,
        login: Login {
            user: "builder".to_owned(),
        },
        shapes: vec![shape.clone()],
        wish: None,
        capabilities: Capabilities::default(),
        ready: None,
        probes: std::collections::BTreeMap::new(),
        boot_timeout: Span::from_secs(60),
        slots: 1,
        billing: None,
    };
    let image = Image {
        name: "image".to_owned(),
        version: 1,
        state: ImageState::Active,
        spec,
        applied_at: Timestamp::default(),
        rev: 0,
    };
    LaunchRequest {
        machine,
        image,
        shape,
        keys: keys(machine),
        lease,
    }
}

/// The provider's name for a machine.
pub(crate) fn instance(machine: MachineId) -> InstanceId {
    InstanceId(machine.to_string())
}

/// The machine in a complete listing.
pub(crate) async fn find(provider: &LocalProvider, machine: MachineId) -> Option<Instance> {
    let listing = provider.list().await.unwrap();
    assert!(listing.complete);
    listing
        .instances
        .into_iter()
        .find(|instance| instance.origin == Origin::Machine(machine))
}

/// Waits until the machine runs.
pub(crate) async fn running(provider: &LocalProvider, machine: MachineId) -> Endpoint {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let instance = find(provider, machine)
            .await
            .expect("a launched machine is listed");
        assert!(tokio::time::Instant::now() < deadline, "{instance:?}");
        match (instance.state, instance.endpoints.as_slice()) {
            (InstanceState::Running, [endpoint]) => return *endpoint,
            (InstanceState::Pending, []) => {}
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
