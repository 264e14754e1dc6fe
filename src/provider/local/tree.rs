//! Processes of this host, as `/proc` shows them: who is alive, whose child, and how to end them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::model::MachineId;

/// Rounds of ending processes that start new ones meanwhile. Each round takes milliseconds and ends
/// all that were alive at its beginning, so only a fork bomb comes near this.
const ROUNDS: u32 = 500;
const ROUND_PAUSE: Duration = Duration::from_millis(4);

/// The variable by which a machine's processes are known when the machine itself is gone.
pub(super) const MARKER: &str = "DORMOUSE_MACHINE";

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, Clone, Copy)]
struct Stat {
    parent: i32,
    birth: u64,
    /// Ended, and not collected by its parent yet.
    dead: bool,
}

/// Start time of a process in clock ticks since boot; `None` when it has ended.
pub(super) fn birth(pid: Pid) -> Option<u64> {
    stat(pid).filter(|stat| !stat.dead).map(|stat| stat.birth)
}

/// Ends everything that descends from `root`, which keeps its own processes: the caller is `root`,
/// and adopts what loses its parent. Returns whether nothing is left.
pub(super) fn end_descendants(root: Pid) -> bool {
    end_all(|| descendants(root))
}

/// Ends everything that was started on `machine`, found by its environment: for a machine whose own
/// process was killed, so that its processes have new parents. Returns whether nothing is left.
pub(super) fn end_marked(machine: MachineId) -> bool {
    let marker = format!("{MARKER}={machine}");
    end_all(|| marked(&marker))
}

fn end_all(mut left: impl FnMut() -> Vec<Pid>) -> bool {
    for _ in 0..ROUNDS {
        let pids = left();
        if pids.is_empty() {
            return true;
        }
        for pid in pids {
            // Fails only when it has ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(ROUND_PAUSE);
    }
    left().is_empty()
}

fn descendants(root: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<(Pid, bool)>> = BTreeMap::new();
    for pid in all() {
        if let Some(stat) = stat(pid) {
            children
                .entry(stat.parent)
                .or_default()
                .push((pid, stat.dead));
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        for (pid, dead) in children.remove(&parent).unwrap_or_default() {
            parents.push(pid.as_raw_nonzero().get());
            if !dead {
                found.push(pid);
            }
        }
    }
    found
}

fn marked(marker: &str) -> Vec<Pid> {
    let carries = |pid: &Pid| {
        // Unreadable are those of other users, which are not ours, and those that have just ended.
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()));
        environment.is_ok_and(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == marker.as_bytes())
        })
    };
    all()
        .filter(|pid| birth(*pid).is_some() && carries(pid))
        .collect()
}

fn all() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The command's name in brackets may hold anything; state is the 3rd field, start the 22nd.
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    Some(Stat {
        parent: fields.next()?.parse().ok()?,
        birth: fields.nth(17)?.parse().ok()?,
        dead: matches!(state, "Z" | "X"),
    })
}
