//! The dependencies of tasks.

use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::agent::service::api::Api;
use crate::agent::sync::SyncSettings;

/// The dependencies of tasks.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) api: Api,
    pub(super) connector: Channel,
    /// Settings of a sync that a task does not specify.
    pub(super) sync: SyncSettings,
    /// Cancelled when the program must stop.
    pub(super) stop: CancellationToken,
}
