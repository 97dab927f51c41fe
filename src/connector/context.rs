//! The shared context of all resource types and changes.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::RwLock;

use crate::connector::audit::Changes;
use crate::connector::error::Error;
use crate::connector::resource_kind::ResourceKind;
use crate::retool::api::Api;
use crate::retool::change::Mode;
use crate::retool::database::Database;
use crate::retool::tables::Users;
use crate::retool::tables::managed_groups::ManagedGroupNames;

/// The names of groups that are created to give single users access to pages.
pub(crate) const MANAGED_GROUPS: ManagedGroupNames = ManagedGroupNames { prefix: "baton:page:" };

/// The connections and settings of a configuration.
pub(crate) struct Context {
    pub(crate) database: Arc<Database>,
    /// Retool's REST API, if configured.
    pub(crate) api: Option<Arc<Api>>,
    /// Protects the last administrator. An action that disables an administrator holds it exclusively;
    /// changes that remove administrators from their group hold it shared. Each counts the remaining
    /// administrators while holding it.
    pub(crate) admin_lock: RwLock<()>,
    /// The resource types of this configuration, in order.
    pub(crate) kinds: Vec<ResourceKind>,
    /// The users that are resources and principals.
    pub(crate) users: Users,
    /// Whether changes are made or only described.
    pub(crate) mode: Mode,
    /// The state that all changes share.
    pub(crate) changes: Arc<Changes>,
    /// Whether this process has counted memberships across organizations.
    pub(crate) counted_crossing: AtomicBool,
    /// Whether single users get access to pages through groups that are created for it.
    pub(crate) managed_groups: bool,
}

impl Context {
    /// Retool's REST API.
    ///
    /// # Errors
    /// [`Error::NoRest`]
    pub(crate) fn api(&self) -> Result<&Api, Error> {
        self.api.as_deref().ok_or(Error::NoRest)
    }
}
