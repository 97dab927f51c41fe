//! The errors of reading and writing a file.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::operator_file::shown;
use crate::private_text::PrivateText;

/// The reason why a file cannot be read or written. Every message is one line that names the file and the
/// fix.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the file's lock.
    #[error("{} is being written by another run: wait until it ends, or use another file", shown(.path))]
    Busy {
        /// The file to write.
        path: PathBuf,
    },
    /// The file is in the newer format, which this program does not support.
    #[error(
        "{} is a c1z file of format v3, which this program neither reads nor replaces: use another file, or \
         rename this one",
        shown(.path)
    )]
    FormatV3 {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a c1z file.
    #[error("{} is not a c1z file: use another file, or rename this one", shown(.path))]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The path is neither a regular file nor a folder.
    #[error("{} is a device, a pipe or a socket: use a regular file", shown(.path))]
    Special {
        /// The path.
        path: PathBuf,
    },
    /// The file does not exist.
    #[error("{} does not exist: run a sync first, or correct the name", shown(.path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is empty.
    #[error("{} is empty: run a sync first", shown(.path))]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file begins as a c1z file does, but its content is invalid.
    #[error("{} is damaged ({reason}): rename or delete it, then sync again", shown(.path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem with the content.
        reason: String,
    },
    /// The unpacked file would exceed the limit.
    #[error(
        "{} unpacks to more than {limit_mib} MiB: if you trust it, raise \
         BATON_DECODER_MAX_DECODED_SIZE_MB",
        shown(.path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in MiB.
        limit_mib: u64,
    },
    /// The operating system reported an error.
    #[error("cannot {action} {}: {source}{}", shown(.path), remedy(.source))]
    Io {
        /// The attempted action.
        action: &'static str,
        /// The path that it concerned.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The private database reported an error.
    #[error("cannot {action} the database in {}: {source}{}", shown(.folder), database_remedy(.source))]
    Database {
        /// The attempted action.
        action: &'static str,
        /// The folder with the database.
        folder: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The bytes of a row are not a message of its type.
    #[error("{table} row {row} cannot be decoded ({source}): the file is damaged, sync into a new one")]
    Row {
        /// The table.
        table: &'static str,
        /// The row's id.
        row: i64,
        /// The decoding error.
        source: prost::DecodeError,
    },
    /// Two grants have the same id and cannot be distinguished.
    #[error(
        "the connector uses the grant id {} for several principals or entitlements: grant ids must be \
         unique", PrivateText::from(.id.as_str())
    )]
    GrantIds {
        /// The id.
        id: String,
    },
    /// A grant expands an entitlement that belongs to another resource than the grant's principal.
    #[error(
        "grant {} expands entitlement {}, which belongs to another resource than the \
         grant's principal: the connector must name entitlements of the principal",
        PrivateText::from(.grant.as_str()), PrivateText::from(.entitlement.as_str())
    )]
    ForeignExpansion {
        /// The grant's id.
        grant: String,
        /// The entitlement that the grant names.
        entitlement: String,
    },
    /// A call requires a running sync, but [`Store::start`](super::Store::start) was not called.
    #[error("no sync was started")]
    NotStarted,
    /// The file contains no finished sync.
    #[error("{} has no finished sync: run a sync to completion, or specify a sync", shown(.path))]
    NoFinishedSync {
        /// The file.
        path: PathBuf,
    },
    /// The file would exceed the maximum size of the format.
    #[error("the database would have more than {} pages: keep fewer syncs in one file", u32::MAX - 1)]
    TooManyPages,
}

impl Error {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    /// Whether the disk is full, so that a retry can succeed after the user frees space.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Database { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
            _ => false,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or use a folder on another disk"
        }
        io::ErrorKind::NotFound => "; create the folder, or use another one",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; grant this user write permission, or use another folder"
        }
        _ => "",
    }
}

fn database_remedy(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "; free some space, or set BATON_TMPDIR to a folder on a disk with more space"
        }
        Some(ErrorCode::SystemIoFailure) => "; check the disk, or set BATON_TMPDIR to another folder",
        _ => "",
    }
}
