//! The settings of a one-shot sync.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::agent::sync::options::{External, Options, Target, Workers};
use crate::operator_file::shown;

/// The settings of a one-shot sync.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Given")]
pub(crate) struct SyncSettings {
    /// The file to write or to show.
    pub file: PathBuf,
    /// The user named the file. The reader of the settings sets this field.
    pub file_is_given: bool,
    /// The folder for unpacked files; `None` for the system's folder.
    pub temp_dir: Option<PathBuf>,
    /// How many full syncs the file keeps.
    pub keep_syncs: usize,
    /// The file keeps every sync.
    pub skip_cleanup: bool,
    /// Full syncs for ConductorOne are empty. A one-shot sync ignores this setting.
    pub skip_full_sync: bool,
    /// The options of the sync.
    pub options: Options,
}

/// A file or folder in the settings that does not exist.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MissingPath {
    /// The folder for temporary files.
    #[error("the specified c1z temp dir does not exist: {}; create it, or correct --c1z-temp-dir or BATON_TMPDIR", shown(.0))]
    TempDir(PathBuf),
    /// The c1z file of the external connector.
    #[error("the specified external resource c1z file does not exist: {}; correct --external-resource-c1z", shown(.0))]
    ExternalFile(PathBuf),
}

impl SyncSettings {
    /// The default of `--file`.
    pub(crate) const FILE: &str = "sync.c1z";
    /// The default of `--keep-sync-count`.
    pub(crate) const KEEP_SYNCS: u32 = 2;
    /// The default of `--workers`: as many as [`Workers::Auto`] uses. This program's connector answers
    /// several calls at a time, and a sync spends most of its time waiting for the database.
    pub(crate) const WORKERS: &str = "-1";

    /// Checks that the files and folders that a sync reads exist.
    ///
    /// # Errors
    /// [`MissingPath`]
    pub(crate) fn check_paths(&self) -> Result<(), MissingPath> {
        let external = self.options.external.as_ref().map(|external| external.file.as_path());
        MissingPath::all(self.temp_dir.as_deref(), external).into_iter().next().map_or(Ok(()), Err)
    }
}

impl MissingPath {
    /// Those of the given paths that do not exist.
    pub(crate) fn all(temp_dir: Option<&Path>, external_file: Option<&Path>) -> Vec<Self> {
        let folder = temp_dir.filter(|folder| !folder.is_dir()).map(|path| Self::TempDir(path.to_owned()));
        let file = external_file.filter(|file| !file.is_file());
        let file = file.map(|path| Self::ExternalFile(path.to_owned()));
        folder.into_iter().chain(file).collect()
    }
}

/// One field for each setting.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Given {
    file: PathBuf,
    #[serde(default)]
    sync_resource_types: Vec<String>,
    #[serde(default)]
    sync_resources: Vec<Target>,
    skip_entitlements_and_grants: bool,
    skip_grants: bool,
    skip_full_sync: bool,
    workers: i64,
    parallel_sync: bool,
    c1z_temp_dir: Option<PathBuf>,
    keep_sync_count: u32,
    skip_cleanup: bool,
    external_resource_c1z: Option<PathBuf>,
    external_resource_entitlement_id_filter: Option<String>,
}

impl From<Given> for SyncSettings {
    fn from(given: Given) -> Self {
        let workers = match given.workers {
            0 if given.parallel_sync => Workers::Auto,
            0 => Workers::One,
            count => usize::try_from(count).map_or(Workers::Auto, Workers::Count),
        };
        let external = given.external_resource_c1z.map(|file| External {
            file,
            temp_dir: given.c1z_temp_dir.clone(),
            entitlement_id: given.external_resource_entitlement_id_filter,
        });
        Self {
            file: given.file,
            file_is_given: false,
            temp_dir: given.c1z_temp_dir,
            keep_syncs: given.keep_sync_count as usize,
            skip_cleanup: given.skip_cleanup,
            skip_full_sync: given.skip_full_sync,
            options: Options {
                workers,
                resource_types: given.sync_resource_types,
                targets: given.sync_resources,
                skip_entitlements_and_grants: given.skip_entitlements_and_grants,
                skip_grants: given.skip_grants,
                external,
                ..Options::default()
            },
        }
    }
}
