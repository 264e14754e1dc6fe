//! Logs on a local disk.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use object_store::local::LocalFileSystem;

use crate::model::PackId;

use super::error::LogError;
use super::pack;
use super::room::Logs;

/// Directories of this many latest days are searched for what a crash left. A pack is written on the
/// day of its name, or just after its midnight.
const DAYS_WITH_LEFTOVERS: usize = 2;

impl Logs {
    /// Opens the room over a directory, which is created if it does not exist. Only one process may
    /// do so at a time: what a crash left half-written is removed.
    ///
    /// A pack survives a power cut: its file is synced before it gets its name, and the directory
    /// after that.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`Logs::open`].
    pub fn on_disk(
        directory: &Path,
        new_pack: impl Fn() -> PackId + Send + Sync + 'static,
    ) -> Result<Self, LogError> {
        let cannot_open = |source| LogError::Open {
            directory: directory.to_owned(),
            source,
        };
        create(directory).map_err(cannot_open)?;
        remove_leftovers(&directory.join(pack::root().as_ref())).map_err(cannot_open)?;
        let blobs = LocalFileSystem::new_with_prefix(directory)
            .map_err(|source| cannot_open(source.into()))?
            .with_fsync(true)
            .with_automatic_cleanup(true); // A day's directory goes with its last pack.
        Ok(Self::open(Arc::new(blobs), new_pack))
    }
}

/// Makes the directory, and its name durable.
fn create(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

/// Removes files that were being written when the process died. They are named after their pack with
/// `#` and a number behind, which `object_store` hides from every listing.
fn remove_leftovers(root: &Path) -> io::Result<()> {
    for day in latest_days(root)? {
        for entry in fs::read_dir(&day)? {
            let entry = entry?;
            if is_leftover(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

fn latest_days(root: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut days = match fs::read_dir(root) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    days.retain(|day| day.is_dir());
    days.sort_unstable_by(|one, other| other.cmp(one));
    days.truncate(DAYS_WITH_LEFTOVERS);
    Ok(days)
}

/// Whether a file name is `<pack>.pack#<number>`.
fn is_leftover(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(name, number)| {
        name.ends_with(pack::SUFFIX)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_half_written_packs_are_leftovers() {
        for (name, expected) in [
            ("pack_01.pack#1", true),
            ("pack_01.pack#27", true),
            ("pack_01.pack", false),
            ("pack_01.pack#", false),
            ("pack_01.pack#x", false),
            ("notes#1", false),
        ] {
            assert_eq!(is_leftover(name), expected, "{name}");
        }
    }
}
