//! The errors of writing the trees.

use std::io;
use std::path::Path;

use crate::agent::c1z::Error;
use crate::agent::c1z::database::failed;
use crate::agent::c1z::workspace::Workspace;

/// The reason why the trees were not written.
#[derive(Debug)]
pub(super) enum WriteError {
    Io(io::Error),
    Read(rusqlite::Error),
    /// A row's data is not a grant.
    Row(i64, prost::DecodeError),
    TooManyPages,
    /// Two grants of one sync have this id.
    SameId(String),
    /// A stored row differs from the row that was measured.
    Changed,
}

impl WriteError {
    /// Converts to an error that names the files.
    pub(super) fn named(self, database: &Path, workspace: &Workspace) -> Error {
        match self {
            Self::Io(source) => Error::io("write", database)(source),
            Self::Read(source) => failed("read", workspace)(source),
            Self::TooManyPages => Error::TooManyPages,
            Self::SameId(id) => Error::GrantIds { id },
            Self::Row(row, source) => Error::Row { table: "v1_grants", row, source },
            Self::Changed => Error::io("read", workspace.path())(io::Error::other(
                "the database changed during the read; make sure that no other program writes to it",
            )),
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error)
    }
}
