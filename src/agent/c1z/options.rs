//! How a file is to be written.

use std::path::PathBuf;

use crate::agent::c1z::container::DecodeLimits;

/// How a file is to be written.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The file. It need not exist; its folder must.
    pub path: PathBuf,
    /// Where the databases are kept while the sync runs: the old one unpacked, and what the connector answers. Without
    /// it, the system's folder for temporary files.
    pub temp_dir: Option<PathBuf>,
    /// How many full syncs stay in the file, the new one included; at least one does.
    pub keep_syncs: usize,
    /// Whether old syncs stay however many there are.
    pub skip_cleanup: bool,
    /// What unpacking the old file may take.
    pub limits: DecodeLimits,
}

impl StoreOptions {
    /// The file, and for the rest what agents do by default: two syncs are kept.
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
