//! The storage of a sync.

use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::agent::c1z::Expanded;
use crate::proto::connector::{Entitlement, Grant, Resource, ResourceId, ResourceType};

/// Stores the rows of a sync and returns them to its later phases.
///
/// Every call blocks; the syncer makes the calls from a separate thread, in order. The rows of a sync have an
/// id, and the last write of an id wins. A page begins at a cursor, which is a decimal number, as in the
/// unfinished syncs of the Go SDK's agents; an empty cursor begins at the first row.
pub trait Storage: Send + 'static {
    /// Begins a sync, or resumes an unfinished one of the same kind if `resumes` accepts the checkpoint of its
    /// pending actions. A rejected sync is removed. Partial syncs always start from the beginning.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn start(&mut self, kind: Kind, resumes: &dyn Fn(&str) -> bool) -> Result<Started, StorageError>;

    /// Adds or replaces resource types.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn put_resource_types(&mut self, resource_types: &[ResourceType]) -> Result<(), StorageError>;

    /// Adds or replaces resources.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn put_resources(&mut self, resources: &[Resource]) -> Result<(), StorageError>;

    /// Adds or replaces entitlements.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn put_entitlements(&mut self, entitlements: &[Entitlement]) -> Result<(), StorageError>;

    /// Adds or replaces grants.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn put_grants(&mut self, grants: Vec<Grant>) -> Result<(), StorageError>;

    /// Removes grants by id. Unknown ids are ignored.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn delete_grants(&mut self, ids: &[String]) -> Result<(), StorageError>;

    /// Returns every resource type in the order in which the types were added.
    ///
    /// # Errors
    /// The storage cannot be read.
    fn resource_types(&mut self) -> Result<Vec<ResourceType>, StorageError>;

    /// Returns one resource; `None` if it is not stored.
    ///
    /// # Errors
    /// The storage cannot be read.
    fn resource(&mut self, id: &ResourceId) -> Result<Option<Resource>, StorageError>;

    /// Returns a page of resources, of one type or of all, in the order in which they were added.
    ///
    /// # Errors
    /// The storage cannot be read, or the cursor is invalid.
    fn resources(
        &mut self,
        resource_type: Option<&str>,
        cursor: &str,
    ) -> Result<Page<Resource>, StorageError>;

    /// Returns a page of entitlements, in the order in which they were added.
    ///
    /// # Errors
    /// The storage cannot be read, or the cursor is invalid.
    fn entitlements(&mut self, cursor: &str) -> Result<Page<Entitlement>, StorageError>;

    /// Whether an entitlement with this id is stored.
    ///
    /// # Errors
    /// The storage cannot be read.
    fn has_entitlement(&mut self, id: &str) -> Result<bool, StorageError>;

    /// Returns a page of grants, unchanged, in the order in which they were added.
    ///
    /// # Errors
    /// The storage cannot be read, or the cursor is invalid.
    fn grants(&mut self, cursor: &str) -> Result<Page<Grant>, StorageError>;

    /// Stores the pending actions. When it returns, all earlier writes are stored as well.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn checkpoint(&mut self, token: &str) -> Result<(), StorageError>;

    /// Records that everything is collected and expansion is next, whether or not there are grants to expand.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn collected(&mut self) -> Result<(), StorageError>;

    /// Adds the grants that derive from others. Calls `progress` with the number of entitlements that are
    /// done and their total number. If it returns `Break`, nothing is added, and the result is `None`.
    ///
    /// # Errors
    /// The storage cannot be written, or the grants contradict each other.
    fn expand(
        &mut self,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<Expanded>, StorageError>;

    /// Marks the sync as complete.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn finish(&mut self, token: &str) -> Result<(), StorageError>;
}

/// The error of a storage.
#[derive(Clone)]
pub struct StorageError(Arc<dyn Error + Send + Sync>);

/// The scope of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything.
    Full,
    /// Single resources with their children, entitlements and grants.
    Partial,
    /// Resource types and resources only.
    ResourcesOnly,
}

/// How a sync began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub sync_id: String,
    /// The checkpoint of the pending actions; empty for a new sync.
    pub token: String,
    /// When it began, as local time; empty if the storage keeps no time.
    pub started_at: String,
    /// An earlier run began it.
    pub resumed: bool,
}

/// A page of rows and the cursor of the next page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor of the next page; empty if there is none.
    pub next: String,
}

impl StorageError {
    /// Wraps the error of a storage.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Kind {
    /// The name in the file format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::ResourcesOnly => "resources_only",
        }
    }
}
