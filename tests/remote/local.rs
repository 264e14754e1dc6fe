//! The local provider: machines come, are found again, and go with everything on them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dormouse::model::{MachineId, Span};
use dormouse::provider::local::LocalProvider;
use dormouse::provider::{ErrorKind, InstanceState, Provider};
use dormouse::remote::{Remote, Session, Ssh, Target};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::host::{find, instance, launch_request, running};
use crate::run::{attempt, build, eventually, is_gone, step};

struct World {
    directory: TempDir,
    provider: LocalProvider,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_dormouse"));
        let root = directory.path().join("machines");
        let provider = LocalProvider::new("local".to_owned(), root, program);
        Self {
            directory,
            provider,
        }
    }

    fn machine(&self, machine: MachineId) -> PathBuf {
        self.directory
            .path()
            .join("machines")
            .join(machine.to_string())
    }

    async fn launch(&self, lease: Span) -> (MachineId, Arc<dyn Session>) {
        let machine = MachineId::from_bits(attempt().bits());
        let request = launch_request(machine, serde_json::Value::Null, lease);
        self.provider.launch(&request).await.unwrap();
        let target = Target {
            endpoint: running(&self.provider, machine).await,
            user: "builder".to_owned(),
            client_private: request.keys.client_private,
            host_public: request.keys.host_public,
            jump: None,
        };
        (
            machine,
            Ssh::default()
                .connect(&target, Span::from_secs(20))
                .await
                .unwrap(),
        )
    }
}

/// Starts processes of every sort on the machine; their numbers.
async fn occupy(session: &Arc<dyn Session>) -> Vec<Pid> {
    let run = session
        .start(attempt(), build(vec![step("echo $$; sleep 1000")]), 0)
        .await
        .unwrap();
    let mut told = crate::run::Told::default();
    let mut run = run;
    told.read_until(&mut run, |told| told.log.ends_with(b"\n"))
        .await;
    let daemon = "env -i setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; sleep 1000 >/dev/null 2>&1 & echo $!";
    let output = session
        .command(daemon, Bytes::new(), Span::from_secs(20))
        .await
        .unwrap();
    let text = told.text() + &String::from_utf8(output.stdout).unwrap();
    let pids: Vec<_> = text
        .lines()
        .map(|line| Pid::from_raw(line.parse().unwrap()).unwrap())
        .collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| test_kill_process(*pid).is_ok()));
    pids
}

fn machine_pid(directory: &Path) -> Pid {
    let text = std::fs::read_to_string(directory.join("pid")).unwrap();
    Pid::from_raw(text.split(' ').next().unwrap().parse().unwrap()).unwrap()
}

#[tokio::test]
async fn the_same_launch_twice_gives_the_same_machine() {
    let world = World::new();
    let machine = MachineId::from_bits(attempt().bits());
    let request = launch_request(machine, serde_json::Value::Null, Span::from_secs(600));
    let launches = (0..4).map(|_| world.provider.launch(&request));
    let instances = futures::future::join_all(launches).await;
    assert!(instances.iter().all(Result::is_ok), "{instances:?}");
    running(&world.provider, machine).await;
    let pid = machine_pid(&world.machine(machine));
    assert!(
        !world.machine(machine).join("boot").exists(),
        "the private key is not left behind"
    );
    let again = world.provider.launch(&request).await.unwrap();
    assert_eq!(again.state, InstanceState::Running);
    assert_eq!(machine_pid(&world.machine(machine)), pid);
    assert_eq!(world.provider.list().await.unwrap().instances.len(), 1);
    let ended = world
        .provider
        .terminate(&[instance(machine), instance(machine)])
        .await;
    assert_eq!(ended, [Ok(()), Ok(())]);
    assert!(is_gone(pid));
    assert_eq!(find(&world.provider, machine).await, None);
}

#[tokio::test]
async fn terminating_takes_everything_along() {
    let world = World::new();
    let (machine, session) = world.launch(Span::from_secs(600)).await;
    let pids = occupy(&session).await;
    assert_eq!(
        world.provider.terminate(&[instance(machine)]).await,
        [Ok(())]
    );
    assert!(pids.into_iter().all(is_gone));
    assert!(!world.machine(machine).exists());
    assert_eq!(
        world.provider.terminate(&[instance(machine)]).await,
        [Ok(())]
    );
}

#[tokio::test]
async fn a_machine_ends_with_its_lease() {
    let world = World::new();
    let (machine, session) = world.launch(Span::from_secs(3)).await;
    session.extend_lease(Span::from_secs(6)).await.unwrap();
    let pids = occupy(&session).await;
    let begun = std::time::Instant::now();
    let directory = world.machine(machine);
    eventually("the lease runs out", || !directory.exists()).await;
    assert!(
        begun.elapsed() > std::time::Duration::from_secs(4),
        "the extension counted"
    );
    assert!(pids.into_iter().all(is_gone));
    assert_eq!(find(&world.provider, machine).await, None);
}

#[tokio::test]
async fn a_killed_machine_is_noticed_and_cleared() {
    let world = World::new();
    let (machine, session) = world.launch(Span::from_secs(600)).await;
    let output = session.command(
        "sleep 1000 >/dev/null 2>&1 & echo $!",
        Bytes::new(),
        Span::from_secs(20),
    );
    let text = String::from_utf8(output.await.unwrap().stdout).unwrap();
    let left = Pid::from_raw(text.trim().parse().unwrap()).unwrap();
    let pid = machine_pid(&world.machine(machine));
    kill_process(pid, Signal::KILL).unwrap();
    eventually("it is dead", || is_gone(pid)).await;
    let found = find(&world.provider, machine).await.unwrap();
    assert_eq!(found.state, InstanceState::Terminated);
    assert!(is_gone(left));
    assert_eq!(find(&world.provider, machine).await, None);
    eventually("the session notices", || !session.is_open()).await;
}

#[tokio::test]
async fn a_launch_that_died_halfway_is_terminated_or_completed() {
    let world = World::new();
    let machine = MachineId::from_bits(attempt().bits());
    std::fs::create_dir_all(world.machine(machine)).unwrap();
    std::fs::write(world.machine(machine).join("launch"), "").unwrap();
    let found = find(&world.provider, machine).await.unwrap();
    assert_eq!(found.state, InstanceState::Terminated);
    assert_eq!(find(&world.provider, machine).await, None);
    std::fs::create_dir_all(world.machine(machine)).unwrap();
    let request = launch_request(machine, serde_json::Value::Null, Span::from_secs(600));
    world.provider.launch(&request).await.unwrap();
    running(&world.provider, machine).await;
    assert_eq!(
        world.provider.terminate(&[instance(machine)]).await,
        [Ok(())]
    );
}

#[tokio::test]
async fn images_differ_by_their_reference() {
    let world = World::new();
    let machine = MachineId::from_bits(attempt().bits());
    let reference = serde_json::json!({ "path": "/only/here", "shell": "/usr/bin/bash", "boot_delay": "300ms" });
    let request = launch_request(machine, reference, Span::from_secs(600));
    let begun = std::time::Instant::now();
    let instance_ = world.provider.launch(&request).await.unwrap();
    assert_eq!(instance_.state, InstanceState::Pending);
    let target = Target {
        endpoint: running(&world.provider, machine).await,
        user: "builder".to_owned(),
        client_private: request.keys.client_private.clone(),
        host_public: request.keys.host_public.clone(),
        jump: None,
    };
    assert!(begun.elapsed() >= std::time::Duration::from_millis(300));
    let session = Ssh::default()
        .connect(&target, Span::from_secs(20))
        .await
        .unwrap();
    let ask = "echo $BASH $PATH $USER $HOME ${CARGO_MANIFEST_DIR-clean}";
    let output = session
        .command(ask, Bytes::new(), Span::from_secs(20))
        .await
        .unwrap();
    let home = world.machine(machine).join("home");
    let expected = format!(
        "/usr/bin/bash /only/here builder {} clean\n",
        home.display()
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert_eq!(
        world.provider.terminate(&[instance(machine)]).await,
        [Ok(())]
    );
    for odd in [
        serde_json::json!({ "pth": "/bin" }),
        serde_json::json!({ "shell": "/no/such" }),
    ] {
        let request = launch_request(machine, odd, Span::from_secs(600));
        let error = world.provider.launch(&request).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
    }
    assert_eq!(world.provider.list().await.unwrap().instances, []);
}
