//! The debug log of a task, if ConductorOne requests one: a file in the folder for temporary files, which the
//! next upload of a sync includes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::telemetry::debug_log::{self, Writing};

/// The name of the file.
const FILE: &str = "debug.log";

/// A log that waits for the next upload.
#[derive(Debug)]
pub(super) struct DebugLog(PathBuf);

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
    /// The log in a folder, from this process or an earlier one; `None` if there is none.
    pub(super) fn left_in(temp_dir: Option<&Path>) -> Option<Self> {
        let path = path(temp_dir);
        // Do not follow a link, which any user could have created.
        fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()).then_some(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove an uploaded debug log");
        }
    }
}

fn path(temp_dir: Option<&Path>) -> PathBuf {
    temp_dir.map_or_else(std::env::temp_dir, Path::to_owned).join(FILE)
}
