//! Connections that must not come about.

use dormouse::model::{Endpoint, MachineId, Span};
use dormouse::remote::{Remote, RemoteError, Ssh, Target};
use tokio::net::TcpListener;

use crate::host::openssh::free_address;
use crate::host::{Host, Server, Shell, keys};

const DASH: Shell = Shell {
    program: "/usr/bin/dash",
    beliefs: "",
};
const PATIENCE: Span = Span::from_secs(20);

async fn refused(target: &Target) -> RemoteError {
    Ssh::default()
        .connect(target, PATIENCE)
        .await
        .map(drop)
        .unwrap_err()
}

async fn another_host_key_is_refused_and_named(server: Server) {
    let host = Host::start(server, DASH).await;
    let other = keys(MachineId::from_bits(99));
    let target = Target {
        host_public: other.host_public,
        ..host.target.clone()
    };
    let error = refused(&target).await;
    let RemoteError::WrongHostKey {
        presented, pinned, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert!(presented.starts_with("SHA256:") && pinned.starts_with("SHA256:"));
    assert_ne!(presented, pinned);
}

async fn another_client_key_is_refused(server: Server) {
    let host = Host::start(server, DASH).await;
    let other = keys(MachineId::from_bits(99));
    let target = Target {
        client_private: other.client_private,
        ..host.target.clone()
    };
    assert!(matches!(
        refused(&target).await,
        RemoteError::LoginRefused { .. }
    ));
}

#[tokio::test]
async fn host_keys_are_pinned() {
    another_host_key_is_refused_and_named(Server::Local).await;
    another_host_key_is_refused_and_named(Server::OpenSsh).await;
}

#[tokio::test]
async fn client_keys_matter() {
    another_client_key_is_refused(Server::Local).await;
    another_client_key_is_refused(Server::OpenSsh).await;
}

#[tokio::test]
async fn nobody_listens() {
    let keys = keys(MachineId::from_bits(1));
    let mut target = Target {
        endpoint: Endpoint {
            address: free_address(),
        },
        user: "somebody".to_owned(),
        client_private: keys.client_private,
        host_public: keys.host_public,
        jump: None,
    };
    assert!(matches!(
        refused(&target).await,
        RemoteError::Unreachable { .. }
    ));
    // Somebody who never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    target.endpoint.address = silent.local_addr().unwrap();
    let error = Ssh::default()
        .connect(&target, Span::from_millis(200))
        .await
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(error, RemoteError::Unreachable { .. }),
        "{error:?}"
    );
    let (mut stream, _) = silent.accept().await.unwrap();
    let mut rest = Vec::new();
    // The connection is cut, not left behind.
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
    tokio::time::timeout(std::time::Duration::from_secs(20), reading)
        .await
        .unwrap()
        .unwrap();
}
