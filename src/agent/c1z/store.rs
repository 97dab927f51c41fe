//! The store of a running sync.

use std::ops::ControlFlow;
use std::path::PathBuf;

use rusqlite::Connection;

use crate::agent::c1z::container::{self, Found, Target};
use crate::agent::c1z::database::{CURRENT, OLD, adopt, attach, failed, tune};
use crate::agent::c1z::expand::{self, Expanded, Expansion};
use crate::agent::c1z::grant_ids::GrantIds;
use crate::agent::c1z::lock::LockFile;
use crate::agent::c1z::lookup::{self, Order, Page, Read, RowId};
use crate::agent::c1z::options::StoreOptions;
use crate::agent::c1z::rows::{self, Refusal};
use crate::agent::c1z::runs::{self, Begun, Started, SyncKind};
use crate::agent::c1z::workspace::Workspace;
use crate::agent::c1z::{Error, schema, seal};
use crate::proto::connector::{Entitlement, Grant, Resource, ResourceId, ResourceType};

/// The result of writing a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The path of the file with links resolved.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The number of grants of this sync, including derived ones.
    pub grants: u64,
}

/// The store of one sync, from before the first row until the new file replaces the old one.
///
/// A store holds one sync. Call [`Store::start`] once, store pages in any order, call [`Store::expand`] and
/// [`Store::finish`] when everything is read, and always call [`Store::close`] at the end. Without `finish`,
/// the file contains an unfinished sync, which the next run resumes (decision unfinished-syncs). Without
/// `close`, the old file stays unchanged.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    target: Target,
    /// `main` holds the running sync, `old` the content of the file.
    database: Connection,
    sync_id: Option<String>,
    /// The unfinished sync that this sync replaces.
    rejected: Option<String>,
    grant_ids: GrantIds,
    expansion: Option<Expansion>,
    // The field order matters: the database closes before its folder is removed, and the lock is released
    // last.
    workspace: Workspace,
    lock: LockFile,
}

impl Store {
    /// Opens a file for writing: takes its lock, removes the temporary files of killed runs, and unpacks the
    /// existing file.
    ///
    /// # Errors
    /// [`Error::Busy`] if another run has the lock; [`Error::FormatV3`] and [`Error::Foreign`] for a file
    /// that must not be replaced; [`Error::TooLarge`] and [`Error::Damaged`] for a file that cannot be
    /// unpacked; [`Error::Io`] if the folder is missing or not writable. The file is unchanged in all these
    /// cases.
    pub fn open(options: &StoreOptions) -> Result<Self, Error> {
        let target = Target::new(&options.path)?;
        // Check the file before anything is written next to it.
        container::look(target.path())?;
        let lock = LockFile::try_take(&target.lock_path())
            .map_err(Error::io("write files in", target.folder()))?
            .ok_or_else(|| Error::Busy { path: options.path.clone() })?;
        target.prepare()?;
        let workspace = Workspace::create(options.temp_dir.as_deref())?;
        let old = workspace.file(OLD);
        if container::look(target.path())? == Found::V1 {
            container::unpack(target.path(), &old, options.limits)?;
        }
        adopt(&old, target.path())?;
        let database = open_current(&workspace).map_err(|source| failed("open", &workspace)(source))?;
        let options = options.clone();
        Ok(Self {
            options,
            target,
            database,
            sync_id: None,
            rejected: None,
            grant_ids: GrantIds::default(),
            expansion: None,
            workspace,
            lock,
        })
    }

    /// Starts a sync. A full or resources-only sync resumes the newest unfinished sync of its kind if that
    /// began in the last seven days; a partial sync is always new.
    ///
    /// # Errors
    /// [`Error::Database`]; this also applies to every method that documents no other error.
    pub fn start(&mut self, kind: SyncKind) -> Result<Started, Error> {
        self.start_or_resume(kind, &|_| true)
    }

    /// Starts a sync like [`Store::start`], but resumes an unfinished sync only if `resumes` accepts the state of its
    /// last checkpoint. The file does not keep a rejected sync.
    pub fn start_or_resume(
        &mut self,
        kind: SyncKind,
        resumes: &dyn Fn(&str) -> bool,
    ) -> Result<Started, Error> {
        let Begun { started, rejected } =
            runs::start(&self.database, kind, resumes).map_err(self.failed("write"))?;
        if started.resumed {
            self.grant_ids.index(&self.database).map_err(self.failed("write"))?;
        }
        self.sync_id = Some(started.sync_id.clone());
        self.rejected = rejected;
        Ok(started)
    }

    /// Stores resource types. A later type with the same id replaces the earlier one.
    pub fn put_resource_types(&mut self, page: &[ResourceType]) -> Result<(), Error> {
        rows::put_resource_types(&self.database, self.sync_id()?, page).map_err(self.failed("write"))
    }

    /// Stores resources. A later resource with the same type and id replaces the earlier one.
    pub fn put_resources(&mut self, page: &[Resource]) -> Result<(), Error> {
        rows::put_resources(&self.database, self.sync_id()?, page).map_err(self.failed("write"))
    }

    /// Stores entitlements. A later entitlement with the same id replaces the earlier one.
    pub fn put_entitlements(&mut self, page: &[Entitlement]) -> Result<(), Error> {
        rows::put_entitlements(&self.database, self.sync_id()?, page).map_err(self.failed("write"))
    }

    /// Stores grants. A later grant with the same id, entitlement and principal replaces the earlier one. If
    /// two holders share an id, both grants are kept: the second is stored as `<entitlement>:<principal
    /// type>:<principal id>`.
    ///
    /// # Errors
    /// [`Error::GrantIds`] if that id is taken too; then no grant of the page is stored.
    pub fn put_grants(&mut self, page: Vec<Grant>) -> Result<(), Error> {
        let sync_id = self.sync_id.as_deref().ok_or(Error::NotStarted)?;
        match rows::put_grants(&self.database, &mut self.grant_ids, sync_id, page) {
            Ok(()) => Ok(()),
            Err(Refusal::Database(source)) => Err(self.failed("write")(source)),
            Err(Refusal::Other(error)) => Err(error),
        }
    }

    /// Removes grants by id. Unknown ids are ignored.
    pub fn remove_grants(&mut self, ids: &[String]) -> Result<(), Error> {
        rows::remove_grants(&self.database, &mut self.grant_ids, ids).map_err(self.failed("write"))
    }

    /// Returns every resource type of the sync, in the order of storing.
    ///
    /// # Errors
    /// [`Error::Row`] if a row does not decode, which happens only in a resumed sync; this also applies to
    /// all methods below.
    pub fn resource_types(&self) -> Result<Vec<ResourceType>, Error> {
        self.read(lookup::resource_types(&self.database))
    }

    /// Returns a resource type by its id.
    pub fn resource_type(&self, id: &str) -> Result<Option<ResourceType>, Error> {
        self.read(lookup::resource_type(&self.database, id))
    }

    /// Returns a page of at most `limit` resources.
    pub fn resources(
        &self,
        order: Order,
        after: Option<RowId>,
        limit: usize,
    ) -> Result<Page<Resource>, Error> {
        self.read(lookup::resources(&self.database, order, after, limit))
    }

    /// Returns a resource by its type and id.
    pub fn resource(&self, id: &ResourceId) -> Result<Option<Resource>, Error> {
        self.read(lookup::resource(&self.database, id))
    }

    /// Whether an entitlement with this id is stored.
    pub fn has_entitlement(&self, id: &str) -> Result<bool, Error> {
        lookup::has_entitlement(&self.database, id).map_err(self.failed("read"))
    }

    /// Returns an entitlement by its id.
    pub fn entitlement(&self, id: &str) -> Result<Option<Entitlement>, Error> {
        self.read(lookup::entitlement(&self.database, id))
    }

    /// Returns a page of at most `limit` entitlements, in the order of storing.
    pub fn entitlements(&self, after: Option<RowId>, limit: usize) -> Result<Page<Entitlement>, Error> {
        self.read(lookup::entitlements(&self.database, after, limit))
    }

    /// Returns a page of at most `limit` grants, in the order of storing. GrantExpandable is the last of
    /// their annotations. Derived grants are included only after the file is closed.
    pub fn grants(&self, after: Option<RowId>, limit: usize) -> Result<Page<Grant>, Error> {
        self.read(lookup::grants(&self.database, after, limit))
    }

    /// Stores the state from which the sync can be resumed. It is written to the file when the store is
    /// closed.
    pub fn checkpoint(&mut self, token: &str) -> Result<(), Error> {
        self.sync_id()?;
        runs::checkpoint(&self.database, token).map_err(self.failed("write"))
    }

    /// Derives the grants that follow from expandable grants. Calls `progress` with the number of finished
    /// destinations and their total number. If it returns `Break`, nothing is derived, and the result is
    /// `None`.
    ///
    /// The result stays in memory and is written to the file when the store is closed. Grants that are stored
    /// after this call are not considered, so call it last. Call it for a full sync even if no grant is
    /// expandable: it marks the sync as expanded.
    ///
    /// # Errors
    /// [`Error::ForeignExpansion`] if a grant expands an entitlement of another resource than its principal;
    /// [`Error::Row`].
    pub fn expand(
        &mut self,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<Expanded>, Error> {
        self.sync_id()?;
        let (expansion, expanded) = match expand::expand(&self.database, progress) {
            Ok(Some(done)) => done,
            Ok(None) => return Ok(None),
            Err(Refusal::Database(source)) => return Err(self.failed("read")(source)),
            Err(Refusal::Other(error)) => return Err(error),
        };
        runs::mark_expanded(&self.database).map_err(self.failed("write"))?;
        self.expansion = Some(expansion);
        Ok(Some(expanded))
    }

    /// Marks the sync as one that reached its expansion step, as [`Store::expand`] does, without expanding.
    pub fn reach_expansion(&mut self) -> Result<(), Error> {
        self.sync_id()?;
        runs::mark_expanded(&self.database).map_err(self.failed("write"))
    }

    /// Marks the sync as complete and stores its last state.
    pub fn finish(&mut self, token: &str) -> Result<(), Error> {
        self.sync_id()?;
        runs::finish(&self.database, token).map_err(self.failed("write"))
    }

    /// Writes the file with the kept syncs of the old file and this sync, finished or not. Returns `None` if
    /// no sync was started; the old file is then unchanged.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Database`], mostly because of a full disk; the old file is unchanged.
    pub fn close(self) -> Result<Option<Saved>, Error> {
        let Self { options, target, database, sync_id, rejected, grant_ids: _, expansion, workspace, lock } =
            self;
        let Some(sync_id) = sync_id else { return Ok(None) };
        drop(database);
        // A resumed sync has moved to the current database.
        let replaced = [Some(sync_id.clone()), rejected];
        let sealed = seal::seal(&target, &workspace, &options, &sync_id, &replaced, expansion)?;
        drop(workspace);
        drop(lock);
        Ok(Some(Saved { path: target.path().to_owned(), bytes: sealed.bytes, grants: sealed.grants }))
    }

    fn sync_id(&self) -> Result<&str, Error> {
        self.sync_id.as_deref().ok_or(Error::NotStarted)
    }

    fn read<T>(&self, found: Read<T>) -> Result<T, Error> {
        found.map_err(self.failed("read"))?
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
        failed(action, &self.workspace)
    }
}

fn open_current(workspace: &Workspace) -> rusqlite::Result<Connection> {
    let database = Connection::open(workspace.file(CURRENT))?;
    tune(&database)?;
    schema::create_tables(&database)?;
    schema::create_small_unique_indexes(&database)?;
    attach(&database, &workspace.file(OLD), "old")?;
    database.set_prepared_statement_cache_capacity(64);
    Ok(database)
}
