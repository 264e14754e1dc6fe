//! The directory of one machine: what its provider and its own process tell each other.
//!
//! | file | says | written by |
//! |---|---|---|
//! | `launch` | locked while a launch goes on; its change time is the launch time | provider |
//! | `boot` | keys and settings; removed by the machine once read | provider |
//! | `pid` | process id and start time of the machine | both, the same |
//! | `endpoint` | where its SSH server listens | machine |
//! | `console` | what the machine's process printed | machine |
//! | `home`, `tmp` | what builds see | builds |

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::tree;
use crate::model::{Endpoint, MachineId, Secret, Span, Timestamp};

/// What a machine must know to boot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Boot {
    pub(super) machine: MachineId,
    pub(super) host_private: Secret,
    pub(super) client_public: String,
    pub(super) user: String,
    pub(super) lease: Span,
    pub(super) reference: Reference,
}

/// What an image's reference may say to this provider.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reference {
    /// `PATH` of everything that runs on the machine.
    pub(super) path: Option<String>,
    /// The login shell.
    pub(super) shell: Option<PathBuf>,
    /// How long the machine pretends to boot.
    pub(super) boot_delay: Option<Span>,
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: Pid,
    /// Start time in clock ticks since boot.
    pub(super) birth: u64,
}

impl Identity {
    /// Of a running process.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        tree::birth(pid).map(|birth| Self { pid, birth })
    }

    pub(super) fn is_alive(self) -> bool {
        tree::birth(self.pid) == Some(self.birth)
    }
}

/// The directory of one machine.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.directory.join("tmp")
    }

    pub(super) fn console(&self) -> PathBuf {
        self.directory.join("console")
    }

    /// Where the remote driver writes how long the machine may live on.
    pub(super) fn lease(&self) -> PathBuf {
        self.home().join(".dormouse").join("lease")
    }

    /// The file that is locked during a launch.
    pub(super) fn open_launch(&self) -> io::Result<fs::File> {
        fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.directory.join("launch"))
    }

    pub(super) fn launched_at(&self) -> io::Result<Timestamp> {
        let changed = fs::metadata(self.directory.join("launch"))?.modified()?;
        let since_epoch = changed
            .duration_since(std::time::UNIX_EPOCH)
            .map_err(io::Error::other)?;
        Ok(Timestamp::default() + Span::from(since_epoch))
    }

    pub(super) fn write_boot(&self, boot: &Boot) -> io::Result<()> {
        self.write("boot", &serde_json::to_vec(boot)?)
    }

    /// Reads what to boot with, and removes it: it holds the private host key.
    pub(super) fn take_boot(&self) -> io::Result<Boot> {
        let file = self.directory.join("boot");
        let boot = serde_json::from_slice(&fs::read(&file)?)?;
        fs::remove_file(file)?;
        Ok(boot)
    }

    pub(super) fn write_identity(&self, identity: Identity) -> io::Result<()> {
        let Identity { pid, birth } = identity;
        self.write(
            "pid",
            format!("{} {birth}\n", pid.as_raw_nonzero()).as_bytes(),
        )
    }

    pub(super) fn identity(&self) -> io::Result<Option<Identity>> {
        let Some(text) = self.read("pid")? else {
            return Ok(None);
        };
        let parsed = text.split_once(' ').and_then(|(pid, birth)| {
            // A negative number would be a process group to `kill`.
            let pid = Pid::from_raw(pid.parse().ok().filter(|pid| *pid > 1)?)?;
            let birth = birth.trim().parse().ok()?;
            Some(Identity { pid, birth })
        });
        parsed
            .map(Some)
            .ok_or_else(|| io::Error::other("the pid file is not two numbers"))
    }

    pub(super) fn write_endpoint(&self, address: SocketAddr) -> io::Result<()> {
        self.write("endpoint", address.to_string().as_bytes())
    }

    pub(super) fn endpoint(&self) -> io::Result<Option<Endpoint>> {
        let Some(text) = self.read("endpoint")? else {
            return Ok(None);
        };
        let address = text.trim().parse().map_err(io::Error::other)?;
        Ok(Some(Endpoint { address }))
    }

    /// Removes everything. No error when it is gone already.
    pub(super) fn remove(&self) -> io::Result<()> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        if gone(fs::remove_dir_all(&self.directory)).is_ok() {
            return Ok(());
        }
        // Builds leave directories that even their owner may not write; package caches do.
        unlock(&self.directory);
        gone(fs::remove_dir_all(&self.directory))
    }

    fn read(&self, name: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.directory.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Written aside and renamed, so that nobody reads half of it.
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let aside = self
            .directory
            .join(format!("{name}.{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(content)?;
        fs::rename(aside, self.directory.join(name))
    }
}

/// Gives the owner all rights on every directory below; what fails shows in the removal.
fn unlock(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unlock(&entry.path());
        }
    }
}
