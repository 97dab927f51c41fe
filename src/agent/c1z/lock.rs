//! Locks that outlive no process: files whose advisory lock says whether somebody still works there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A locked file, removed with the lock.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    /// Holds the lock until it is closed.
    _file: File,
}

impl LockFile {
    /// Locks the file, which is made when it is not there; `None` when another process or store has it.
    pub(super) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                // Some network file systems have no locks: better unlocked than not at all.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The holder before may have removed the file between opening and locking.
            if is_at(&file, path)? {
                return Ok(Some(Self { path: path.to_owned(), _file: file }));
            }
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // While the lock is held nobody else can be between opening and locking the same file for good.
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
    fn one_holder_at_a_time() -> io::Result<()> {
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
