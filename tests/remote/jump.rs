//! Machines behind a jump host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dormouse::model::{Jump, MachineId, Secret, Span};
use dormouse::remote::{Remote, RemoteError, RunEvent, Session, Ssh, Target};
use tempfile::TempDir;

use crate::host::openssh::free_address;
use crate::host::{Host, OpenSsh, Server, Shell, keys};
use crate::run::{Told, attempt, build, eventually, read, step};

const PATIENCE: Span = Span::from_secs(20);

/// A machine, a jump host, and a driver that knows no other way.
struct World {
    machine: Host,
    host: OpenSsh,
    ssh: Ssh,
    _directory: TempDir,
}

impl World {
    async fn new(settings: &str) -> Self {
        let shell = Shell {
            program: "/usr/bin/dash",
            beliefs: "",
        };
        let directory = tempfile::tempdir().unwrap();
        let nowhere = PathBuf::from("/nonexistent");
        Self {
            machine: Host::start(Server::OpenSsh, shell).await,
            host: OpenSsh::start(directory.path(), &nowhere, "/nonexistent", settings),
            ssh: Ssh::default(),
            _directory: directory,
        }
    }

    fn jump(&self) -> Jump {
        let Target {
            endpoint,
            user,
            client_private,
            host_public,
            ..
        } = self.host.target.clone();
        Jump {
            user,
            host: endpoint.address.ip().to_string(),
            port: endpoint.address.port(),
            client_private,
            host_public,
        }
    }

    fn target(&self) -> Target {
        Target {
            jump: Some(self.jump()),
            ..self.machine.target.clone()
        }
    }

    async fn connect(&self) -> Arc<dyn Session> {
        self.ssh.connect(&self.target(), PATIENCE).await.unwrap()
    }

    async fn refused(&self, target: &Target) -> RemoteError {
        self.ssh
            .connect(target, PATIENCE)
            .await
            .map(drop)
            .unwrap_err()
    }

    /// What went wrong at the jump host.
    async fn refused_there(&self, jump: Jump) -> RemoteError {
        let target = Target {
            jump: Some(jump),
            ..self.target()
        };
        let error = self.refused(&target).await;
        let text = error.to_string();
        assert!(
            text.starts_with("cannot go through the jump host: "),
            "{text}"
        );
        let RemoteError::JumpHost { error } = error else {
            panic!("{error:?}")
        };
        *error
    }
}

async fn says(session: &dyn Session, command: &str) -> String {
    let output = session.command(command, Bytes::new(), PATIENCE).await;
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[tokio::test]
async fn many_sessions_share_one_connection() {
    let world = World::new("").await;
    let sessions = futures::future::join_all((0..40).map(|_| world.connect())).await;
    assert_eq!(world.host.connections().len(), 1);
    for session in &sessions {
        assert_eq!(says(session.as_ref(), "echo here").await, "here\n");
    }
    // One that was there before, for the machine itself.
    assert_eq!(world.machine.openssh().connections().len(), 41);
    for session in &sessions {
        session.close().await;
    }
    eventually("the machine is left alone", || {
        world.machine.openssh().connections().len() == 1
    })
    .await;
    assert_eq!(world.host.connections().len(), 1, "kept for the next");
}

#[tokio::test]
async fn builds_run_behind_a_jump_host() {
    let world = World::new("").await;
    let session = world.connect().await;
    let steps = vec![
        step("head -c 3000000 /dev/zero | tr '\\0' x"),
        step("exit 3"),
    ];
    let told = read(session.start(attempt(), build(steps), 0).await.unwrap()).await;
    assert_eq!((told.log.len(), told.code()), (3_000_000, Some(3)));
}

#[tokio::test]
async fn errors_name_the_hop() {
    let world = World::new("").await;
    let name = world.host.target.endpoint.address.to_string();
    let nobody = free_address();
    let error = world
        .refused_there(Jump {
            port: nobody.port(),
            ..world.jump()
        })
        .await;
    assert!(
        matches!(&error, RemoteError::Unreachable { address, .. } if *address == nobody.to_string()),
        "{error:?}"
    );
    let others = keys(MachineId::from_bits(99));
    let error = world
        .refused_there(Jump {
            host_public: others.host_public.clone(),
            ..world.jump()
        })
        .await;
    assert!(
        matches!(&error, RemoteError::WrongHostKey { address, .. } if *address == name),
        "{error:?}"
    );
    let error = world
        .refused_there(Jump {
            client_private: others.client_private.clone(),
            ..world.jump()
        })
        .await;
    assert!(
        matches!(&error, RemoteError::LoginRefused { address, .. } if *address == name),
        "{error:?}"
    );
    let error = world
        .refused_there(Jump {
            client_private: Secret::new("not a key".to_owned()),
            ..world.jump()
        })
        .await;
    assert!(matches!(error, RemoteError::Protocol { .. }), "{error:?}");
    // The machine's own errors name both.
    let mut down = world.target();
    down.endpoint.address = nobody;
    let error = world.refused(&down).await;
    let expected = format!("{nobody} behind {name}");
    assert!(
        matches!(&error, RemoteError::Unreachable { address, .. } if *address == expected),
        "{error:?}"
    );
    let stranger = Target {
        host_public: others.host_public,
        ..world.target()
    };
    let error = world.refused(&stranger).await;
    assert!(
        matches!(&error, RemoteError::WrongHostKey { address, .. } if address.ends_with(&name)),
        "{error:?}"
    );
    assert_eq!(
        says(world.connect().await.as_ref(), "echo here").await,
        "here\n"
    );
}

#[tokio::test]
async fn a_host_that_lets_nobody_through_is_named() {
    let world = World::new("AllowTcpForwarding no").await;
    let error = world.refused_there(world.jump()).await;
    assert!(
        error.to_string().contains("does not allow forwarding"),
        "{error}"
    );
}

#[tokio::test]
async fn a_jump_host_that_fails_loses_and_repeats_nothing() {
    let mut world = World::new("").await;
    let session = world.connect().await;
    let text = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.1; done";
    let attempt = attempt();
    let mut run = session
        .start(attempt, build(vec![step(text)]), 0)
        .await
        .unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |told| !told.log.is_empty()).await;
    world.host.stop_with_connections();
    told.read_until(&mut run, |_| false).await;
    assert!(
        matches!(told.end, Some(RunEvent::Disconnected { .. })),
        "{told:?}"
    );
    eventually("the session notices", || !session.is_open()).await;
    let error = world.refused(&world.target()).await;
    assert!(matches!(error, RemoteError::JumpHost { .. }), "{error:?}");
    world.host.restart();
    let again = world.connect().await;
    let mut run = again.follow(attempt, told.machine).await.unwrap();
    told.end = None;
    told.read_until(&mut run, |_| false).await;
    assert_eq!(told.text(), "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    assert_eq!(told.code(), Some(0));
}

#[tokio::test]
async fn a_stalled_reader_holds_up_nobody_else() {
    let world = World::new("").await;
    let (one, other) = (world.connect().await, world.connect().await);
    let steps = build(vec![step("head -c 60000000 /dev/zero")]);
    let run = one.start(attempt(), steps, 0).await.unwrap();
    // More than all buffers and windows on the way hold.
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let mut stalled = 0;
    while stalled < 20 {
        assert!(tokio::time::Instant::now() < deadline);
        assert_eq!(says(other.as_ref(), "echo here").await, "here\n");
        stalled += usize::from(run.events.len() == run.events.max_capacity());
    }
    let told = read(run).await;
    assert_eq!((told.log.len(), told.code()), (60_000_000, Some(0)));
}
