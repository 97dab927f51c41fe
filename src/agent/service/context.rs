//! What tasks need.

use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::agent::service::api::Api;
use crate::agent::sync::SyncSettings;

/// What tasks need.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) api: Api,
    pub(super) connector: Channel,
    /// What a sync does that no task says.
    pub(super) sync: SyncSettings,
    /// Cancelled when the program is to stop.
    pub(super) stop: CancellationToken,
}
