//! Stock OpenSSH servers with files of their own, which play machines and jump hosts.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dormouse::model::{Endpoint, MachineId};
use dormouse::remote::Target;
use rustix::process::{Pid, Signal, kill_process};

use super::keys;

/// A server that runs until it is dropped.
pub(crate) struct OpenSsh {
    /// How to log in to it.
    pub(crate) target: Target,
    /// The home of every login.
    pub(crate) home: PathBuf,
    /// Where its configuration, its keys and its log are.
    pub(crate) directory: PathBuf,
    child: Child,
}

impl OpenSsh {
    /// Starts a server with its files in `directory`, where logins find `bin`'s `sh` and the
    /// programs of `path`. `extra` are settings that win over the others.
    pub(crate) fn start(directory: &Path, bin: &Path, path: &str, extra: &str) -> Self {
        let keys = keys(MachineId::from_bits(crate::run::attempt().bits()));
        let home = directory.join("home");
        fs::create_dir_all(&home).unwrap();
        let host_key = directory.join("host_key");
        fs::write(&host_key, keys.host_private.expose()).unwrap();
        fs::set_permissions(&host_key, fs::Permissions::from_mode(0o600)).unwrap();
        let authorized = format!("{}\n", keys.client_public);
        fs::write(directory.join("authorized_keys"), authorized).unwrap();
        // Plays a login with another home, PATH and login shell than the account really has.
        let login = directory.join("login");
        let script = format!(
            "#!/bin/sh\ncd {home} && export HOME={home} PATH={path} && \
             exec {bin}/sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            home = home.display(),
            bin = bin.display(),
        );
        fs::write(&login, script).unwrap();
        fs::set_permissions(&login, fs::Permissions::from_mode(0o755)).unwrap();
        let address = free_address();
        let settings = format!(
            "{extra}\nListenAddress {address}\nHostKey {host_key}\n\
             AuthorizedKeysFile {dir}/authorized_keys\nForceCommand exec {dir}/login\n\
             SetEnv HOME={home}\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n\
             PasswordAuthentication no\nMaxStartups 100\n",
            // The account's shell would read its start-up files from the home directory.
            home = home.display(),
            host_key = host_key.display(),
            dir = directory.display(),
        );
        fs::write(directory.join("sshd_config"), settings).unwrap();
        if rustix::process::getuid().is_root() {
            // Where OpenSSH keeps its unprivileged half; a host without a running sshd lacks it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let target = Target {
            endpoint: Endpoint { address },
            user: user(),
            client_private: keys.client_private,
            host_public: keys.host_public,
            jump: None,
        };
        let child = spawn(directory);
        wait_for(address, &directory.join("sshd.log"));
        Self {
            target,
            home,
            directory: directory.to_owned(),
            child,
        }
    }

    /// The processes of its connections, one for each.
    pub(crate) fn connections(&self) -> Vec<Pid> {
        children(self.child.id())
    }

    /// Cuts all connections, and lets none come about.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again with the files as they are.
    pub(crate) fn restart(&mut self) {
        self.stop_with_connections();
        self.child = spawn(&self.directory);
        let address = self.target.endpoint.address;
        wait_for(address, &self.directory.join("sshd.log"));
    }

    /// As when the host fails: the server and all its connections are gone.
    pub(crate) fn stop_with_connections(&mut self) {
        let connections = self.connections();
        self.stop();
        for connection in connections {
            // It may be gone by itself.
            let _ = kill_process(connection, Signal::KILL);
        }
    }
}

impl Drop for OpenSsh {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(directory: &Path) -> Child {
    Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(directory.join("sshd_config"))
        .stdin(Stdio::null())
        .stderr(fs::File::create(directory.join("sshd.log")).unwrap())
        .spawn()
        .expect("/usr/sbin/sshd must be installed: the driver is tested against OpenSSH")
}

/// Processes whose parent is `parent`.
fn children(parent: u32) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Ok(stat) = fs::read_to_string(entry.unwrap().path().join("stat")) else {
            continue;
        };
        let (pid, rest) = stat.split_once(' ').unwrap();
        let mut words = rest.rsplit_once(") ").unwrap().1.split(' ');
        let state = words.next().unwrap();
        if words.next() == Some(parent.to_string().as_str()) && state != "Z" {
            found.push(Pid::from_raw(pid.parse().unwrap()).unwrap());
        }
    }
    found
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn wait_for(address: SocketAddr, log: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(
            Instant::now() < deadline,
            "sshd: {}",
            fs::read_to_string(log).unwrap()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
