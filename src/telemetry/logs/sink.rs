//! Targets of log lines: standard error, standard output or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::operator_file::shown;
use crate::telemetry::settings::LogTarget;

/// A log target that is not writable.
#[derive(Debug, thiserror::Error)]
#[error("{target} cannot be written to: {source}")]
pub(crate) struct Unwritable {
    /// The target, as `--log-path` spells it.
    pub(super) target: String,
    pub(super) source: io::Error,
}

/// An open target.
pub(super) struct Sink {
    target: LogTarget,
    file: File,
    /// Whether the last line was written only in part, so that a line end precedes the next line.
    torn: bool,
}

/// The mode of new log files: for their owner and the group that collects them.
const MODE: u32 = 0o640;
/// Pause before a retry if a descriptor is full. Some parent processes pass a non-blocking descriptor.
const PAUSE: Duration = Duration::from_millis(20);

impl Sink {
    /// # Errors
    /// The target cannot be opened for writing.
    pub(super) fn open(target: &LogTarget) -> Result<Self, Unwritable> {
        let file = match target {
            // This uses a separate descriptor, because a blocked write would hold the locks of the standard
            // library.
            LogTarget::Stderr => io::stderr().as_fd().try_clone_to_owned().map(File::from),
            LogTarget::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            LogTarget::File(path) => open(path),
        };
        let file = file.map_err(|source| Unwritable { target: name(target), source })?;
        Ok(Self { target: target.clone(), file, torn: false })
    }

    pub(super) fn is_stderr(&self) -> bool {
        self.target == LogTarget::Stderr
    }

    /// The target as `--log-path` spells it.
    pub(super) fn name(&self) -> String {
        name(&self.target)
    }

    /// Writes a line and its line end.
    ///
    /// # Errors
    /// The error of the operating system; a part of the line may be written.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_all(b"\n")?;
        }
        self.torn = true;
        self.write_all(line)?;
        self.torn = false;
        Ok(())
    }

    /// Opens the file again; the name may refer to another file now.
    ///
    /// # Errors
    /// The error of the operating system; the previous file stays open.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let LogTarget::File(path) = &self.target {
            (self.file, self.torn) = (open(path)?, false);
        }
        Ok(())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// The target, as `--log-path` spells it.
pub(super) fn name(target: &LogTarget) -> String {
    match target {
        LogTarget::Stderr => "stderr".to_owned(),
        LogTarget::Stdout => "stdout".to_owned(),
        LogTarget::File(path) => shown(path).to_string(),
    }
}
