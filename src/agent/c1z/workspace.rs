//! The private folder in which a file is unpacked and a new one is put together.
//!
//! A folder `baton-c1z-*` belongs to the process that holds the lock on the file of the same name and `.lock`.
//! A process that was killed leaves both behind, and the lock free; the next one removes them.

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
    // Fields drop in this order: the folder goes while it is still locked.
    folder: tempfile::TempDir,
    _lock: LockFile,
}

impl Workspace {
    /// Makes a folder below `parent` (without one, below the system's folder for temporary files), after
    /// removing those of dead processes.
    pub(crate) fn create(parent: Option<&Path>) -> Result<Self, Error> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let refused = |error| Error::io("write temporary files in", &parent)(error);
        remove_abandoned(&parent);
        loop {
            // The lock comes first, so that there is never a folder without one.
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

/// Removes what processes left that do not live any more. What cannot be removed (another user's) stays.
pub(crate) fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(name) = folder_of(&path) else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(Some(lock)) = LockFile::try_take(&path) else { continue };
        let folder = parent.join(name);
        if let Err(error) = remove_folder(&folder) {
            tracing::debug!(folder = %folder.display(), %error, "an abandoned folder cannot be removed");
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

/// The name of the folder that a lock file is for; `None` for other files.
fn folder_of(lock: &Path) -> Option<String> {
    let name = lock.file_name()?.to_str()?.strip_suffix(LOCK)?;
    name.starts_with(PREFIX).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abandoned_folders_are_removed() -> Result<(), Box<dyn std::error::Error>> {
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
    fn a_missing_folder_is_named() {
        let error =
            Workspace::create(Some(Path::new("/nowhere/at/all"))).map(|_| ()).map_err(|e| e.to_string());
        assert!(
            error.is_err_and(|text| text.contains("/nowhere/at/all") && text.contains("create the folder"))
        );
    }
}
