//! How a machine has done: what it said of itself, and what builds made of it. Facts only; whether it
//! takes a further build follows from them and from policy.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::id::AttemptId;
use super::money::Money;
use super::policy::{RestAt, Reuse};
use super::time::Span;

/// How a machine has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// How its first boot went.
    pub boot: BootRecord,
    /// Attempts that ended on it, of which it has not said yet that nothing is left. What it has said
    /// may reach the store with the next change of the machine only: until then it is asked again
    /// after a restart, which is harmless.
    pub unproved: BTreeSet<AttemptId>,
    /// What is left of an attempt although everything was tried.
    pub left: Option<Left>,
    /// How full it was when it said so last.
    pub usage: Usage,
    /// The strictest wish about reuse among the builds that it was given.
    pub reuse: Reuse,
    /// Whether builds of several projects have run on it.
    pub is_mixed: bool,
    /// Attempts that failed on it for reasons of infrastructure, its boot apart.
    pub infrastructure_failures: u32,
    /// What those cost.
    pub failure_cost: Money,
}

/// How the first boot of a machine went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootRecord {
    /// It is under way, was never begun, or was given up for no fault of the image.
    #[default]
    Unknown,
    /// It took so long from the decision to launch.
    Took(Span),
    /// There was an instance, and it did not get ready.
    Failed,
}

/// What is left of an attempt on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// Its directory.
    Directory,
    /// So many of its processes.
    Processes(u32),
    /// Nobody knows: the machine did not say.
    Unknown,
}

impl Left {
    /// One clause for people: `3 processes of a build cannot be ended`.
    pub fn sentence(self) -> String {
        match self {
            Self::Directory => "the directory of a build cannot be removed".to_owned(),
            Self::Processes(1) => "a process of a build cannot be ended".to_owned(),
            Self::Processes(count) => format!("{count} processes of a build cannot be ended"),
            Self::Unknown => "it did not say whether a build has left something".to_owned(),
        }
    }
}

/// How full a machine is, in percent of what it has; none where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The file system of the work directory.
    pub disk: Option<u32>,
    /// That file system's inodes.
    pub inodes: Option<u32>,
    /// Memory.
    pub memory: Option<u32>,
}

impl Usage {
    /// What is too full, if anything is.
    pub fn too_full(&self, rest_at: &RestAt) -> Option<Full> {
        let over = |what, used: Option<u32>, most| {
            let percent = used.filter(|used| *used >= most)?;
            Some(Full { what, percent })
        };
        over(Resource::Disk, self.disk, rest_at.disk_percent)
            .or_else(|| over(Resource::Inodes, self.inodes, rest_at.inodes_percent))
            .or_else(|| over(Resource::Memory, self.memory, rest_at.memory_percent))
    }
}

/// Something that is too full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {
    /// What.
    pub what: Resource,
    /// How full.
    pub percent: u32,
}

impl Full {
    /// One clause for people: `disk 93 % full`.
    pub fn sentence(self) -> String {
        match self.what {
            Resource::Disk => format!("disk {} % full", self.percent),
            Resource::Inodes => format!("inodes {} % used up", self.percent),
            Resource::Memory => format!("memory {} % full", self.percent),
        }
    }
}

/// What a machine can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Room on the file system of the work directory.
    Disk,
    /// That file system's inodes.
    Inodes,
    /// Memory.
    Memory,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_full_at_its_threshold_and_never_by_what_is_not_known() {
        let rest_at = RestAt {
            disk_percent: 90,
            inodes_percent: 80,
            memory_percent: 95,
        };
        let usage = |disk, inodes, memory| Usage {
            disk,
            inodes,
            memory,
        };
        let said = |usage: Usage| usage.too_full(&rest_at).map(Full::sentence);
        assert_eq!(said(usage(Some(89), Some(79), Some(94))), None);
        assert_eq!(said(Usage::default()), None);
        assert_eq!(
            said(usage(Some(90), Some(100), None)).as_deref(),
            Some("disk 90 % full")
        );
        assert_eq!(
            said(usage(None, Some(80), Some(99))).as_deref(),
            Some("inodes 80 % used up")
        );
        assert_eq!(
            said(usage(None, None, Some(95))).as_deref(),
            Some("memory 95 % full")
        );
    }
}
