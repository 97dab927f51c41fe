//! Lock files: an advisory lock on a file shows whether a process still works there. The lock ends with its
//! process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A locked file, which is removed with the lock.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    /// Holds the lock until it is closed.
    _file: File,
}

impl LockFile {
    /// Locks the file and creates it if it is missing. `None` if another process or store holds the lock.
    pub(super) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                // Some network file systems do not support locks; the caller then works without one.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The previous holder may have removed the file after it was opened and before it was locked.
            if is_at(&file, path)? {
                return Ok(Some(Self { path: path.to_owned(), _file: file }));
            }
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // While the lock is held, no other process can lock this file; a process that has opened it detects
        // the removal.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(there.dev() == ours.dev() && there.ino() == ours.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> io::Result<bool> {
    fs::exists(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holder_at_a_time_has_the_lock() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("lock");
        let first = LockFile::try_take(&path)?;
        assert!(first.is_some());
        assert!(LockFile::try_take(&path)?.is_none());
        drop(first);
        assert!(!path.exists());
        assert!(LockFile::try_take(&path)?.is_some());
        Ok(())
    }

    #[test]
    fn a_removed_lock_file_is_not_the_lock() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("lock");
        let file = File::create(&path)?;
        assert!(is_at(&file, &path)?);
        fs::remove_file(&path)?;
        assert!(!is_at(&file, &path)?);
        File::create(&path)?;
        let mine = LockFile::try_take(&path)?;
        assert!(mine.is_some());
        Ok(())
    }
}
