//! Service mode: asks ConductorOne's API for tasks, runs them against a connector, and says how they ended.
//!
//! `run` has the loop: a free place, a task for it from `poll`, and on. `tasks` has what each kind of task asks of the
//! connector, and `outcome` what ConductorOne learns about its end. Below them, `api` makes the calls with a token of
//! `token` on a `connection`, which `dial` makes.
//!
//! Any connector can be driven, not only this program's own: the agent speaks the protocol over a `Channel`.

mod api;
mod api_host;
mod assertion;
mod connection;
mod context;
mod credentials;
mod debug_log;
mod dial;
mod error;
mod finish;
mod heartbeat;
mod hello;
mod in_flight;
mod machine;
mod outcome;
mod poll;
mod run;
mod settings;
mod tasks;
mod token;
mod upload;
mod version;

use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::agent::c1z;
use crate::agent::service::api::Api;
use crate::agent::service::context::Context;
use crate::agent::sync::SyncSettings;

#[cfg(feature = "lambda")]
pub(crate) use api::innermost;
pub(crate) use api_host::ApiHost;
#[cfg(feature = "lambda")]
pub(crate) use credentials::CredentialsError;
pub(crate) use credentials::{ClientId, ClientKey};
pub(crate) use dial::{DialError, Dialer};
#[cfg(feature = "lambda")]
pub(crate) use dial::{SetupError, tls_with};
pub(crate) use error::ServiceError;
pub(crate) use settings::{Overrides, ServiceSettings};
pub(crate) use token::{TokenError, Tokens};

/// What ConductorOne knows an installation by that has no name at all.
const NAMELESS: &str = "baton-sdk";

/// Where the API answers: where the variable says, else at the host in the client's id.
///
/// # Errors
/// [`ServiceError::ApiHost`]
pub(crate) fn api_host(settings: &ServiceSettings, id: &ClientId) -> Result<ApiHost, ServiceError> {
    match &settings.overrides.api_host {
        Some(host) => ApiHost::parse(host).map_err(ServiceError::ApiHost),
        None => Ok(id.host().clone()),
    }
}

/// A client of ConductorOne, not yet connected.
#[derive(Debug)]
pub(crate) struct Service {
    api: Api,
    sync: SyncSettings,
    places: usize,
    batch: bool,
}

impl Service {
    /// A client as the settings describe it. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ServiceError`] of a setting that cannot be right.
    pub(crate) fn new(settings: &ServiceSettings, sync: SyncSettings) -> Result<Self, ServiceError> {
        if let Some(folder) = sync.temp_dir.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(ServiceError::NoTempDir(folder.clone()));
        }
        if let Some(external) = sync.options.external.as_ref().filter(|external| !external.file.is_file()) {
            return Err(ServiceError::NoExternalFile(external.file.clone()));
        }
        let id = ClientId::parse(&settings.client_id)?;
        let key = ClientKey::parse(&settings.client_secret)?;
        let host = api_host(settings, &id)?;
        let dialer = Dialer::new(host.clone())?;
        tracing::info!(
            api = %host,
            proxy = dialer.proxy(),
            client = id.name(),
            task_concurrency = settings.task_concurrency,
            "serving ConductorOne"
        );
        let name = id.name().to_owned();
        let tokens = Tokens::new(&host, id, key, dialer.proxy(), settings.timeout)?;
        let host_id = settings.overrides.host_id.clone().or_else(|| whoami::hostname().ok());
        let host_id = host_id.filter(|id| !id.is_empty()).unwrap_or_else(|| NAMELESS.to_owned());
        let api = Api::new(&host, dialer, tokens, &name, &host_id)?;
        let places = usize::try_from(settings.task_concurrency).unwrap_or(usize::MAX);
        Ok(Self { api, sync, places, batch: settings.overrides.batch })
    }

    /// Introduces the program to ConductorOne and runs its tasks against the connector at the other end of a channel.
    /// `ready` is called when ConductorOne knows the program. When `stop` is cancelled no further task is taken,
    /// syncs are stopped, and the tasks that are under way are waited for.
    ///
    /// # Errors
    /// [`ServiceError::Connector`], [`ServiceError::Refused`]
    pub(crate) async fn run(
        self,
        connector: Channel,
        ready: impl FnOnce(),
        stop: CancellationToken,
    ) -> Result<(), ServiceError> {
        let Self { api, sync, places, batch } = self;
        let temp_dir = sync.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        // What a process left that was killed in the middle of a sync. What cannot be removed stays.
        let _ = tokio::task::spawn_blocking(move || c1z::remove_abandoned(&temp_dir)).await;
        let metadata = hello::metadata(&connector).await.map_err(ServiceError::Connector)?;
        hello::at_the_start(&api, metadata, &stop).await?;
        if !stop.is_cancelled() {
            tracing::info!(host_id = api.host_id(), "connected to ConductorOne, waiting for tasks");
            ready();
        }
        run::run(Context { api, connector, sync, stop }, places, batch).await;
        Ok(())
    }
}
