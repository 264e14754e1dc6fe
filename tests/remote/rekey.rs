//! Changing the keys of a machine under a session.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use dormouse::model::{MachineId, MachineKeys, Span};
use dormouse::remote::{Rekey, Remote, RemoteError, Session, Ssh, Target};

use crate::host::{Host, Server, Shell, keys};
use crate::run::{Told, attempt, build, read, step};

const PATIENCE: Span = Span::from_secs(20);

macro_rules! shells {
    ($($name:ident: $program:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let shell = Shell { program: $program, beliefs: "" };
                new_keys_let_in_and_old_ones_do_not(shell).await;
            }
        )*
    };
}

shells! {
    new_keys_let_in_and_old_ones_do_not_dash: "/usr/bin/dash";
    new_keys_let_in_and_old_ones_do_not_bash: "/usr/bin/bash";
    new_keys_let_in_and_old_ones_do_not_busybox: "/usr/bin/busybox";
    new_keys_let_in_and_old_ones_do_not_mksh: "/usr/bin/mksh";
    new_keys_let_in_and_old_ones_do_not_zsh: "/usr/bin/zsh";
}

async fn rekey(session: &dyn Session, keys: &MachineKeys) -> Result<Rekey, RemoteError> {
    session.rekey(keys).await
}

async fn works(session: &dyn Session) -> bool {
    let output = session.command("echo here", Bytes::new(), PATIENCE).await;
    output.is_ok_and(|output| output.stdout == b"here\n")
}

/// What comes of a login.
async fn login(target: &Target) -> Result<(), RemoteError> {
    let session = Ssh::default().connect(target, PATIENCE).await?;
    assert!(works(session.as_ref()).await);
    session.close().await;
    Ok(())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Adds a line to the file that says who may log in.
fn authorize(directory: &Path, line: &str) {
    let path = directory.join("authorized_keys");
    let before = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("# ours\n{before}{line}")).unwrap();
}

async fn new_keys_let_in_and_old_ones_do_not(shell: Shell) {
    let host = Host::start(Server::OpenSsh, shell).await;
    let directory = &host.openssh().directory;
    let guest = keys(MachineId::from_bits(98));
    authorize(directory, &guest.client_public);
    let new = keys(MachineId::from_bits(99));
    let attempt = attempt();
    let text = "echo one; until [ -e go ]; do sleep 0.05; done; echo two";
    let mut run = host
        .session
        .start(attempt, build(vec![step(text)]), 0)
        .await
        .unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |told| !told.log.is_empty()).await;

    assert_eq!(rekey(host.session.as_ref(), &new).await, Ok(Rekey::Done));
    let renewed = Target {
        client_private: new.client_private.clone(),
        host_public: new.host_public.clone(),
        ..host.target.clone()
    };
    let old = &host.target;
    let with_old_client_key = Target {
        host_public: new.host_public.clone(),
        ..old.clone()
    };
    let error = login(&with_old_client_key).await.unwrap_err();
    assert!(
        matches!(error, RemoteError::LoginRefused { .. }),
        "{error:?}"
    );
    assert_eq!(login(&renewed).await, Ok(()));
    let error = login(old).await.unwrap_err();
    assert!(
        matches!(error, RemoteError::WrongHostKey { .. }),
        "{error:?}"
    );
    let as_guest = Target {
        client_private: guest.client_private.clone(),
        ..renewed.clone()
    };
    assert_eq!(login(&as_guest).await, Ok(()), "others stay authorized");

    let authorized = fs::read_to_string(directory.join("authorized_keys")).unwrap();
    let expected = format!("# ours\n{}\n{}\n", guest.client_public, new.client_public);
    assert_eq!(authorized, expected);
    assert_eq!(mode(&directory.join("host_key")), 0o600);
    assert_eq!(mode(&directory.join("authorized_keys")), 0o644);
    let files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".dormouse") || name.contains(".before"))
        .collect();
    assert_eq!(files, [""; 0]);

    // The session opens its second connection with the new key: what is not about a run goes there.
    assert!(works(host.session.as_ref()).await);

    // The run under way has noticed nothing, and again is harmless.
    fs::write(host.directory(attempt).join("work/go"), "").unwrap();
    told.read_until(&mut run, |_| false).await;
    assert_eq!((told.text().as_str(), told.code()), ("one\ntwo\n", Some(0)));
    assert_eq!(rekey(host.session.as_ref(), &new).await, Ok(Rekey::Done));
    assert_eq!(login(&renewed).await, Ok(()));
}

const DASH: Shell = Shell {
    program: "/usr/bin/dash",
    beliefs: "",
};

/// Puts a program where the machine finds it first.
fn put_program(host: &Host, name: &str, text: &str) {
    let path = host.openssh().directory.join("bin").join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

const NOT_ROOT: &str = "[ \"$1\" != -u ] || { echo 1000; exit; }; exec /usr/bin/id \"$@\"";

#[tokio::test]
async fn without_root_nothing_changes() {
    let host = Host::start(Server::OpenSsh, DASH).await;
    put_program(&host, "id", NOT_ROOT);
    put_program(&host, "sudo", "echo 'a password is required' >&2; exit 1");
    let new = keys(MachineId::from_bits(99));
    let rekeyed = rekey(host.session.as_ref(), &new).await;
    assert_eq!(rekeyed, Ok(Rekey::NotAllowed));
    assert_eq!(login(&host.target).await, Ok(()));
}

#[tokio::test]
async fn sudo_without_a_password_is_enough() {
    let host = Host::start(Server::OpenSsh, DASH).await;
    put_program(&host, "id", NOT_ROOT);
    let sudo = "[ \"$1\" = -n ] || exit 1; shift; echo \"$@\" >>\"$HOME/sudo\"; exec \"$@\"";
    put_program(&host, "sudo", sudo);
    let new = keys(MachineId::from_bits(99));
    assert_eq!(rekey(host.session.as_ref(), &new).await, Ok(Rekey::Done));
    let renewed = Target {
        client_private: new.client_private.clone(),
        host_public: new.host_public.clone(),
        ..host.target.clone()
    };
    let shown = fs::read_to_string(host.home.join("sudo")).unwrap();
    assert!(shown.contains("sh -s -- "), "{shown}");
    assert!(
        !shown.contains("PRIVATE") && !shown.contains("AAAA"),
        "{shown}"
    );
    assert_eq!(login(&renewed).await, Ok(()));
}

#[tokio::test]
async fn what_is_no_sshd_is_left_alone() {
    let host = Host::start(Server::Local, DASH).await;
    let new = keys(MachineId::from_bits(99));
    let rekeyed = rekey(host.session.as_ref(), &new).await;
    assert!(
        matches!(rekeyed, Ok(Rekey::NotSupported | Rekey::NotAllowed)),
        "{rekeyed:?}"
    );
    assert_eq!(login(&host.target).await, Ok(()));
    let told = read(
        host.session
            .start(attempt(), build(vec![step(":")]), 0)
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(told.code(), Some(0));
}

#[tokio::test]
async fn a_server_that_does_not_tell_its_settings_is_left_alone() {
    let host = Host::start(Server::OpenSsh, DASH).await;
    let directory = &host.openssh().directory;
    let config = directory.join("sshd_config");
    let settings = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{settings}\nNoSuchSetting yes\n")).unwrap();
    let key = fs::read(directory.join("host_key")).unwrap();
    let new = keys(MachineId::from_bits(99));
    let rekeyed = rekey(host.session.as_ref(), &new).await;
    assert_eq!(rekeyed, Ok(Rekey::NotSupported));
    assert_eq!(fs::read(directory.join("host_key")).unwrap(), key);
    assert_eq!(login(&host.target).await, Ok(()));
}

#[tokio::test]
async fn halves_that_do_not_belong_together_are_not_sent() {
    let host = Host::start(Server::OpenSsh, DASH).await;
    let mut new = keys(MachineId::from_bits(99));
    new.host_public = keys(MachineId::from_bits(97)).host_public;
    let rekeyed = rekey(host.session.as_ref(), &new).await;
    assert!(
        matches!(rekeyed, Err(RemoteError::Protocol { .. })),
        "{rekeyed:?}"
    );
    assert_eq!(login(&host.target).await, Ok(()));
}
