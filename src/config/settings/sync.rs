//! What a one-shot sync reads and where it goes.

use std::path::PathBuf;

use crate::agent::sync::{External, Options, Target, Workers};
use crate::config::error::{Error, Origin};
use crate::config::layers::{Layers, Sources, invalid};
use crate::config::setting::Setting;
use crate::config::settings::path;
use crate::config::table::{
    C1Z_TEMP_DIR, EXTERNAL_RESOURCE_C1Z, EXTERNAL_RESOURCE_ENTITLEMENT_ID_FILTER, FILE, KEEP_SYNC_COUNT,
    PARALLEL_SYNC, SKIP_CLEANUP, SKIP_ENTITLEMENTS_AND_GRANTS, SKIP_FULL_SYNC, SKIP_GRANTS,
    SYNC_RESOURCE_TYPES, SYNC_RESOURCES, WORKERS,
};

/// The variable that names the folder for temporary files for every program of the family.
const TMPDIR: &str = "BATON_TMPDIR";

/// What a one-shot sync reads and where it goes.
#[derive(Clone, Debug)]
pub struct SyncSettings {
    /// The file to write or to show.
    pub file: PathBuf,
    /// Somebody named the file.
    pub file_is_given: bool,
    /// Where files are unpacked; nothing for the system's folder.
    pub temp_dir: Option<PathBuf>,
    /// How many full syncs stay in the file.
    pub keep_syncs: usize,
    /// Every sync stays in the file.
    pub skip_cleanup: bool,
    /// Somebody asks for no full sync, which means nothing to a one-shot sync.
    pub skip_full_sync: bool,
    /// What to read and how.
    pub options: Options,
}

impl SyncSettings {
    pub(in crate::config) fn read(layers: &Layers, sources: &Sources) -> Result<Self, Error> {
        let file = layers.required_text(&FILE)?;
        let temp_dir = match layers.text(&C1Z_TEMP_DIR)? {
            Some(text) => Some(path(text)),
            None => sources.variable(TMPDIR).filter(|value| !value.is_empty()).map(PathBuf::from),
        };
        let targets = targets(layers)?;
        let skip_grants = layers.switch(&SKIP_GRANTS)?;
        if skip_grants && targets.is_empty() {
            return Err(without(layers, &SKIP_GRANTS, &SYNC_RESOURCES));
        }
        let resource_types = layers.texts(&SYNC_RESOURCE_TYPES)?;
        let of_wanted_type = |target: &Target| resource_types.contains(&target.resource.resource_type);
        if !targets.is_empty() && !resource_types.is_empty() && !targets.iter().any(of_wanted_type) {
            let problem = "none of the resources is of a type in sync-resource-types".to_owned();
            return Err(invalid(&SYNC_RESOURCES, &layers.origin(&SYNC_RESOURCES), problem));
        }
        let options = Options {
            workers: workers(layers)?,
            resource_types,
            targets,
            skip_entitlements_and_grants: layers.switch(&SKIP_ENTITLEMENTS_AND_GRANTS)?,
            skip_grants,
            external: external(layers, temp_dir.as_ref())?,
            ..Options::default()
        };
        Ok(Self {
            file_is_given: file.origin != Origin::Default,
            file: path(file),
            temp_dir,
            keep_syncs: layers.whole::<u32>(&KEEP_SYNC_COUNT)? as usize,
            skip_cleanup: layers.switch(&SKIP_CLEANUP)?,
            skip_full_sync: layers.switch(&SKIP_FULL_SYNC)?,
            options,
        })
    }
}

fn targets(layers: &Layers) -> Result<Vec<Target>, Error> {
    let parse = |text: String| {
        Target::parse(&text)
            .map_err(|error| invalid(&SYNC_RESOURCES, &layers.origin(&SYNC_RESOURCES), error.to_string()))
    };
    layers.texts(&SYNC_RESOURCES)?.into_iter().map(parse).collect()
}

fn workers(layers: &Layers) -> Result<Workers, Error> {
    let parallel = layers.switch(&PARALLEL_SYNC)?;
    Ok(match layers.workers(&WORKERS)? {
        0 if parallel => Workers::Auto,
        0 => Workers::One,
        count => usize::try_from(count).map_or(Workers::Auto, Workers::Count),
    })
}

fn external(layers: &Layers, temp_dir: Option<&PathBuf>) -> Result<Option<External>, Error> {
    let entitlement_id = layers.text(&EXTERNAL_RESOURCE_ENTITLEMENT_ID_FILTER)?.map(|text| text.value);
    match layers.text(&EXTERNAL_RESOURCE_C1Z)? {
        Some(file) => Ok(Some(External { file: path(file), temp_dir: temp_dir.cloned(), entitlement_id })),
        None if entitlement_id.is_some() => {
            Err(without(layers, &EXTERNAL_RESOURCE_ENTITLEMENT_ID_FILTER, &EXTERNAL_RESOURCE_C1Z))
        }
        None => Ok(None),
    }
}

fn without(layers: &Layers, given: &Setting, missing: &Setting) -> Error {
    Error::Without {
        given: given.name,
        origin: layers.origin(given),
        missing: missing.name,
        variable: missing.variable(),
    }
}
