//! What every resource type and every change works with.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::RwLock;

use crate::connector::error::Error;
use crate::connector::resource_kind::ResourceKind;
use crate::retool::api::Api;
use crate::retool::change::Mode;
use crate::retool::database::Database;
use crate::retool::tables::Users;
use crate::retool::tables::managed_groups::ManagedGroupNames;

/// How the groups are named that are made to give single users access to pages.
pub(crate) const MANAGED_GROUPS: ManagedGroupNames = ManagedGroupNames { prefix: "baton:page:" };

/// The connections and the choices of a configuration.
pub(crate) struct Context {
    pub(crate) database: Arc<Database>,
    /// Retool's REST API, where it is set up.
    pub(crate) api: Option<Arc<Api>>,
    /// Keeps the last administrator: an action that disables one of several administrators holds it alone, a
    /// change that takes administrators out of their group holds it together with others, and each counts who
    /// remains while it does.
    pub(crate) admin_lock: RwLock<()>,
    /// The resource types of this configuration in their order.
    pub(crate) kinds: Vec<ResourceKind>,
    /// Which users are resources and principals.
    pub(crate) users: Users,
    /// Whether changes are made or only described.
    pub(crate) mode: Mode,
    /// Whether this process has counted memberships across organizations.
    pub(crate) counted_crossing: AtomicBool,
    /// Whether single users are given access to pages, through groups that are made for it.
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
