//! Recorded passes of the planner as files of the data directory.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

use crate::engine::PassLog;
use crate::planner::{Plan, RecordedPass};

/// Unsound passes that are kept whatever the setting says.
const LEAST_KEPT: usize = 5;

/// A directory with the newest recorded passes.
#[derive(Debug)]
pub(super) struct PlanFolder {
    directory: PathBuf,
    keep: usize,
    number: AtomicU64,
    /// The files, oldest first.
    files: Arc<Mutex<VecDeque<PathBuf>>>,
}

impl PlanFolder {
    /// Opens the directory `plans` of `data`, which may hold files of earlier runs.
    pub(super) fn open(data: &Path, keep: u32) -> anyhow::Result<Self> {
        let directory = data.join("plans");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        files.sort();
        Ok(Self {
            directory,
            keep: usize::try_from(keep).unwrap_or(usize::MAX),
            number: AtomicU64::new(0),
            files: Arc::new(Mutex::new(files.into())),
        })
    }
}

impl PassLog for PlanFolder {
    fn wants(&self, plan: &Plan, is_sound: bool) -> bool {
        !is_sound || (self.keep > 0 && !plan.actions.is_empty())
    }

    fn keep(&self, pass: RecordedPass) {
        // Names sort by time; two passes at one instant are told apart by their number.
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:020}-{number:06}.json", pass.at.micros());
        let path = self.directory.join(name);
        let files = Arc::clone(&self.files);
        let most = self.keep.max(LEAST_KEPT);
        tokio::task::spawn_blocking(move || {
            let written = serde_json::to_vec(&pass)
                .map_err(std::io::Error::from)
                .and_then(|text| fs::write(&path, text));
            if let Err(error) = written {
                tracing::warn!(path = %path.display(), %error, "plan not kept");
                return;
            }
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            files.push_back(path);
            while files.len() > most {
                if let Some(oldest) = files.pop_front() {
                    // One that somebody else removed is gone, too.
                    let _ = fs::remove_file(oldest);
                }
            }
        });
    }
}
