//! The debug log of a task, if ConductorOne requests one: a file in the folder for temporary files, which the
//! next upload of a sync includes.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::telemetry::debug_log::{self, Writing};

/// The name of the file.
const FILE: &str = "debug.log";

/// A log that waits for the next upload.
#[derive(Debug)]
pub(super) struct DebugLog {
    path: PathBuf,
    file: File,
}

/// Writes a new log until the result is dropped. Returns `None` and logs a warning if the file cannot be
/// written.
pub(super) fn begin(temp_dir: Option<&Path>) -> Option<Writing> {
    let path = path(temp_dir);
    debug_log::write_to(&path)
        .inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot write the debug log of a task");
        })
        .ok()
}

impl DebugLog {
    /// The log in a folder, from this process or an earlier one. Returns `None` if there is none, or logs a
    /// warning if it cannot be read, such as another user's.
    pub(super) fn left_in(temp_dir: Option<&Path>) -> Option<Self> {
        let path = path(temp_dir);
        match open(&path) {
            Ok(file) => file.map(|file| Self { path, file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a debug log");
                None
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Removes the log if `writing` writes it. The log of another task stays, even if it has the same name:
    /// it is not complete.
    pub(super) fn remove_if_of(self, writing: &Writing) {
        let is_ours = |there: &Metadata| writing.is_to(there.dev(), there.ino());
        let removed = match fs::symlink_metadata(&self.path) {
            Ok(there) if is_ours(&there) => fs::remove_file(&self.path),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an uploaded debug log");
        }
    }
}

/// Opens a regular file. Follows no link, which any user could have created, and does not wait for the other
/// end of a pipe.
fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let is_file = file.metadata()?.is_file();
    Ok(is_file.then_some(file))
}

fn path(temp_dir: Option<&Path>) -> PathBuf {
    temp_dir.map_or_else(std::env::temp_dir, Path::to_owned).join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_a_log() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let left = || DebugLog::left_in(Some(folder.path()));
        let log = folder.path().join(FILE);
        assert!(left().is_none());
        let secret = folder.path().join("secret");
        fs::write(&secret, "x")?;
        std::os::unix::fs::symlink(&secret, &log)?;
        assert!(left().is_none());
        fs::remove_file(&log)?;
        fs::create_dir(&log)?;
        assert!(left().is_none());
        fs::remove_dir(&log)?;
        fs::rename(&secret, &log)?;
        assert!(left().is_some());
        Ok(())
    }
}
