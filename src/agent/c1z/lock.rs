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

/// Whether a file could be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locked {
    Yes,
    /// Another process or store holds the lock.
    Busy,
    /// The file system does not support locks, as some network file systems.
    Unsupported,
}

impl LockFile {
    /// Locks the file and creates it if it is missing. `None` if another process or store holds the lock. On a
    /// file system without locks, the caller works without one.
    pub(super) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        Self::take_if(path, lock, |locked| locked != Locked::Busy)
    }

    /// Locks a file whose holder has ended. `None` if it is locked, or if the file system does not support
    /// locks and so does not show whether the holder has ended.
    pub(super) fn take_abandoned(path: &Path) -> io::Result<Option<Self>> {
        Self::take_if(path, lock, |locked| locked == Locked::Yes)
    }

    fn take_if(
        path: &Path,
        lock: impl Fn(&File) -> io::Result<Locked>,
        is_enough: impl Fn(Locked) -> bool,
    ) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            if !is_enough(lock(&file)?) {
                return Ok(None);
            }
            // The previous holder may have removed the file after it was opened and before it was locked.
            if is_at(&file, path)? {
                return Ok(Some(Self { path: path.to_owned(), _file: file }));
            }
        }
    }
}

fn lock(file: &File) -> io::Result<Locked> {
    locked(file.try_lock())
}

/// The result of an attempt to lock a file.
fn locked(attempt: Result<(), TryLockError>) -> io::Result<Locked> {
    // NFS without a lock manager.
    let has_no_locks = |error: &io::Error| {
        error.kind() == io::ErrorKind::Unsupported
            || error.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error())
    };
    match attempt {
        Ok(()) => Ok(Locked::Yes),
        Err(TryLockError::WouldBlock) => Ok(Locked::Busy),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(Locked::Unsupported),
        Err(TryLockError::Error(error)) => Err(error),
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

    #[test]
    fn without_locks_a_file_can_be_taken_but_does_not_count_as_abandoned() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("lock");
        File::create(&path)?;
        for code in [rustix::io::Errno::OPNOTSUPP, rustix::io::Errno::NOSYS, rustix::io::Errno::NOLCK] {
            let lock = |_: &File| locked(Err(TryLockError::Error(code.into())));
            assert!(LockFile::take_if(&path, lock, |locked| locked == Locked::Yes)?.is_none());
            // The file of a holder that may be alive stays.
            assert!(path.exists());
            assert!(LockFile::take_if(&path, lock, |locked| locked != Locked::Busy)?.is_some());
            assert!(!path.exists());
            File::create(&path)?;
        }
        let broken = |_: &File| locked(Err(TryLockError::Error(rustix::io::Errno::IO.into())));
        assert!(LockFile::take_if(&path, broken, |_| true).is_err());
        Ok(())
    }
}
