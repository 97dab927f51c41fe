//! The private folder for the unpacked file and for building the new one.
//!
//! A folder `baton-c1z-*` belongs to the process that holds the lock on the file of the same name with
//! `.lock` appended. A killed process leaves both, without the lock; the next process removes them. On a file
//! system without locks they stay, because their process may still work.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::agent::c1z::Error;
use crate::agent::c1z::lock::LockFile;

const PREFIX: &str = "baton-c1z-";
const LOCK: &str = ".lock";

/// A folder of one process, removed at the end.
#[derive(Debug)]
pub(crate) struct Workspace {
    // Fields drop in this order: the folder is removed while it is still locked.
    folder: tempfile::TempDir,
    _lock: LockFile,
}

impl Workspace {
    /// Removes the folders of dead processes, then creates a folder below `parent` or, without it, below the
    /// system's folder for temporary files.
    pub(crate) fn create(parent: Option<&Path>) -> Result<Self, Error> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let refused = |error| Error::io("write temporary files in", &parent)(error);
        remove_abandoned(&parent);
        loop {
            // The lock is created first, so that no folder ever exists without one.
            let named =
                tempfile::Builder::new().prefix(PREFIX).suffix(LOCK).tempfile_in(&parent).map_err(refused)?;
            let (_, lock_path) = named.keep().map_err(|error| refused(error.error))?;
            let Some(lock) = LockFile::try_take(&lock_path).map_err(refused)? else { continue };
            let Some(name) = folder_of(&lock_path) else { continue };
            let folder =
                tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir_in(&parent).map_err(refused)?;
            return Ok(Self { folder, _lock: lock });
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Removes the folders of processes that have ended. Folders that cannot be removed (another user's) stay.
pub(crate) fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(name) = folder_of(&path) else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(Some(lock)) = LockFile::take_abandoned(&path) else { continue };
        let folder = parent.join(name);
        if let Err(error) = remove_folder(&folder) {
            tracing::debug!(folder = %folder.display(), %error, "cannot remove an abandoned folder");
        }
        drop(lock);
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The name of the folder that a lock file protects; `None` for other files.
fn folder_of(lock: &Path) -> Option<String> {
    let name = lock.file_name()?.to_str()?.strip_suffix(LOCK)?;
    name.starts_with(PREFIX).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_only_abandoned_folders() -> Result<(), Box<dyn std::error::Error>> {
        let parent = tempfile::tempdir()?;
        let dead = parent.path().join("baton-c1z-dead");
        fs::create_dir(&dead)?;
        fs::write(dead.join("db"), "x")?;
        fs::write(parent.path().join("baton-c1z-dead.lock"), "")?;
        let foreign = parent.path().join("other-c1z-dead");
        fs::create_dir(&foreign)?;

        let alive = Workspace::create(Some(parent.path()))?;
        let second = Workspace::create(Some(parent.path()))?;
        assert!(!dead.exists());
        assert!(alive.path().exists() && second.path().exists() && foreign.exists());
        drop((alive, second));
        let left: Vec<_> = fs::read_dir(parent.path())?.flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["other-c1z-dead"]);
        Ok(())
    }

    #[test]
    fn the_error_names_a_missing_parent_folder() {
        let error =
            Workspace::create(Some(Path::new("/nowhere/at/all"))).map(|_| ()).map_err(|e| e.to_string());
        assert!(
            error.is_err_and(|text| text.contains("/nowhere/at/all") && text.contains("create the folder"))
        );
    }
}
