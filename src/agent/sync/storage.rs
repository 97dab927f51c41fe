//! Where a sync puts what it reads.

use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::agent::c1z::Expanded;
use crate::proto::connector::{Entitlement, Grant, Resource, ResourceId, ResourceType};

/// Where a sync puts what it reads, and reads it again for the next phase.
///
/// Every call blocks; the syncer makes them from a thread of its own, in order. Rows of a sync have an id and the
/// last write of an id counts. Pages begin at a cursor, which is a decimal number as the unfinished syncs of the Go
/// SDK's agents have it; an empty cursor begins at the first row.
pub trait Storage: Send + 'static {
    /// Begins a sync, or goes on with an unfinished one of the same kind. Partial syncs always begin.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn start(&mut self, kind: Kind) -> Result<Started, StorageError>;

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

    /// Removes grants by their ids. Those that are not there are ignored.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn delete_grants(&mut self, ids: &[String]) -> Result<(), StorageError>;

    /// Every resource type in the order in which they came.
    ///
    /// # Errors
    /// The storage cannot be read.
    fn resource_types(&mut self) -> Result<Vec<ResourceType>, StorageError>;

    /// One resource; nothing when it is not stored.
    ///
    /// # Errors
    /// The storage cannot be read.
    fn resource(&mut self, id: &ResourceId) -> Result<Option<Resource>, StorageError>;

    /// Some resources, of one type or of all, in the order in which they came.
    ///
    /// # Errors
    /// The storage cannot be read, or the cursor is none.
    fn resources(
        &mut self,
        resource_type: Option<&str>,
        cursor: &str,
    ) -> Result<Page<Resource>, StorageError>;

    /// Some entitlements, in the order in which they came.
    ///
    /// # Errors
    /// The storage cannot be read, or the cursor is none.
    fn entitlements(&mut self, cursor: &str) -> Result<Page<Entitlement>, StorageError>;

    /// Whether there is an entitlement of this id.
    ///
    /// # Errors
    /// The storage cannot be read.
    fn has_entitlement(&mut self, id: &str) -> Result<bool, StorageError>;

    /// Some grants as they were put, in the order in which they came.
    ///
    /// # Errors
    /// The storage cannot be read, or the cursor is none.
    fn grants(&mut self, cursor: &str) -> Result<Page<Grant>, StorageError>;

    /// Keeps what is still to do. When it returns, everything put before is kept as well.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn checkpoint(&mut self, token: &str) -> Result<(), StorageError>;

    /// Everything was collected and expansion is next, whether or not there is something to expand.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn collected(&mut self) -> Result<(), StorageError>;

    /// Adds the grants that follow from others. Calls `progress` with how many entitlements are done and how many
    /// there are. When that asks to end, nothing is added, and the answer is `None`.
    ///
    /// # Errors
    /// The storage cannot be written, or the grants contradict each other.
    fn expand(
        &mut self,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<Expanded>, StorageError>;

    /// Ends the sync: it is complete.
    ///
    /// # Errors
    /// The storage cannot be written.
    fn finish(&mut self, token: &str) -> Result<(), StorageError>;
}

/// Why a storage failed.
#[derive(Clone)]
pub struct StorageError(Arc<dyn Error + Send + Sync>);

/// What a sync covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything.
    Full,
    /// Single resources and what belongs to them.
    Partial,
    /// Resource types and resources only.
    ResourcesOnly,
}

/// How a sync began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub sync_id: String,
    /// What was still to do; empty for a new one.
    pub token: String,
    /// It was begun by an earlier run.
    pub resumed: bool,
}

/// Some rows and where the next ones begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor of the next rows; empty when there are none.
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
    /// The word of the file format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::ResourcesOnly => "resources_only",
        }
    }
}
