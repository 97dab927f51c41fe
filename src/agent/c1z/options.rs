//! The options for writing a file.

use std::path::PathBuf;

use crate::agent::c1z::container::DecodeLimits;

/// The options for writing a file.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The path of the file. The file need not exist; its folder must.
    pub path: PathBuf,
    /// The folder for the databases while the sync runs: the unpacked old one and the one for the connector's
    /// responses. `None` uses the system's folder for temporary files.
    pub temp_dir: Option<PathBuf>,
    /// How many full syncs the file keeps, including the new one; at least one.
    pub keep_syncs: usize,
    /// Whether all old syncs are kept.
    pub skip_cleanup: bool,
    /// The limits for unpacking the old file.
    pub limits: DecodeLimits,
}

impl StoreOptions {
    /// Creates options for a file with the defaults of other agents: two syncs are kept.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            temp_dir: None,
            keep_syncs: 2,
            skip_cleanup: false,
            limits: DecodeLimits::default(),
        }
    }
}
