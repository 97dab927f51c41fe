//! What can go wrong in writing the trees.

/// Why the trees were not written.
#[derive(Debug)]
pub(super) enum WriteError {
    Io(std::io::Error),
    Read(rusqlite::Error),
    /// A row's data is no grant.
    Row(i64, prost::DecodeError),
    TooManyPages,
    /// Two grants of one sync have this id.
    SameId(String),
}

impl From<std::io::Error> for WriteError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error)
    }
}
