//! Processes on a machine: starting them with pipes, and collecting everything that ends, adopted
//! orphans included. One collector for all, since waiting for "any child" takes the others' results.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// Pipe capacity for output; fewer wake-ups per megabyte than the usual 64 KiB.
const PIPE_BYTES: usize = 256 * 1024;

/// What every process on the machine is started with.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The login shell.
    pub(super) shell: PathBuf,
    /// Where it starts.
    pub(super) home: PathBuf,
    /// All of its environment.
    pub(super) environment: Vec<(String, String)>,
}

/// A started process.
pub(super) struct Started {
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: pipe::Receiver,
    pub(super) exit: oneshot::Receiver<Exit>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

thread_local! {
    /// Who waits for which process. The machine has one thread, and a process is entered here
    /// before that thread can get to collecting it.
    static WAITING: RefCell<HashMap<Pid, oneshot::Sender<Exit>>> = RefCell::new(HashMap::new());
}

/// Starts the login shell, with `-c command` or reading its standard input.
pub(super) fn start(around: &Surroundings, command: Option<&[u8]>) -> io::Result<Started> {
    let (stdin, stdin_writer) = io::pipe()?;
    let (stdout_reader, stdout) = io::pipe()?;
    let (stderr_reader, stderr) = io::pipe()?;
    widen(&stdout);
    let mut shell = shell(around, command);
    shell.stdin(stdin).stdout(stdout).stderr(stderr);
    let child = shell.spawn()?;
    let (sender, exit) = oneshot::channel();
    let pid = Pid::from_child(&child);
    WAITING.with_borrow_mut(|waiting| waiting.insert(pid, sender));
    Ok(Started {
        stdin: pipe::Sender::from_owned_fd(OwnedFd::from(stdin_writer))?,
        stdout: pipe::Receiver::from_owned_fd(OwnedFd::from(stdout_reader))?,
        stderr: pipe::Receiver::from_owned_fd(OwnedFd::from(stderr_reader))?,
        exit,
    })
}

#[expect(clippy::disallowed_methods, reason = "a provider starts processes")]
fn shell(around: &Surroundings, command: Option<&[u8]>) -> Command {
    let mut shell = Command::new(&around.shell);
    if let Some(command) = command {
        shell.arg("-c").arg(OsStr::from_bytes(command));
    }
    let environment = around.environment.iter().map(|(name, value)| (name, value));
    shell
        .env_clear()
        .envs(environment)
        .current_dir(&around.home)
        // Signals to the machine's own group do not reach it. No session, because that would need
        // code between fork and exec, and those are the expensive spawns.
        .process_group(0)
        .stdin(Stdio::null());
    shell
}

/// Makes a pipe larger; it works with any size, so failing is fine.
fn widen(pipe: &impl AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
}

/// Collects every child that has ended and tells who waits for it.
pub(super) fn collect() {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let Some(exit) = exit(status) else { continue };
        if let Some(waiter) = WAITING.with_borrow_mut(|waiting| waiting.remove(&pid)) {
            // The channel it belonged to may be closed by now.
            let _ = waiter.send(exit);
        }
    }
}

fn exit(status: WaitStatus) -> Option<Exit> {
    status
        .exit_status()
        .map(Exit::Status)
        .or_else(|| status.terminating_signal().map(Exit::Signal))
}
