//! Service mode: polls ConductorOne's API for tasks, runs them against a connector, and reports their
//! results.
//!
//! `run` contains the main loop: it takes a free slot, gets a task for it from `poll`, and repeats. `tasks`
//! contains the connector calls of each kind of task, and `outcome` the report to ConductorOne. Below them,
//! `api` makes the calls with a token of `token` on a `connection`, which `dial` creates.
//!
//! The agent can drive any connector, not only this program's own: it uses the protocol over a `Channel`.

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
mod proxy;
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
use crate::telemetry::metrics;

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

/// The name of an installation without a name, for ConductorOne.
const NAMELESS: &str = "baton-sdk";

/// The host of the API: the one from the environment variable, or else the host in the client's id.
///
/// # Errors
/// [`ServiceError::ApiHost`]
pub(crate) fn api_host(settings: &ServiceSettings, id: &ClientId) -> Result<ApiHost, ServiceError> {
    match &settings.overrides.api_host {
        Some(host) => ApiHost::parse(host).map_err(ServiceError::ApiHost),
        None => Ok(id.host().clone()),
    }
}

/// The client of ConductorOne's API, not yet connected.
#[derive(Debug)]
pub(crate) struct Service {
    api: Api,
    sync: SyncSettings,
    concurrency: usize,
    batch: bool,
}

impl Service {
    /// Creates a client from the settings. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ServiceError`] for an invalid setting.
    pub(crate) fn new(settings: &ServiceSettings, sync: SyncSettings) -> Result<Self, ServiceError> {
        sync.check_paths()?;
        let id = ClientId::parse(&settings.client_id)?;
        let key = ClientKey::parse(&settings.client_secret)?;
        let host = api_host(settings, &id)?;
        let dialer = Dialer::new(host.clone())?;
        tracing::info!(
            api = %host,
            proxy = dialer.proxy().map(tracing::field::display),
            client = id.name(),
            task_concurrency = settings.task_concurrency,
            "serving ConductorOne"
        );
        let name = id.name().to_owned();
        let tokens = Tokens::new(&host, id, key, dialer.proxy(), settings.timeout)?;
        let host_id = settings.overrides.host_id.clone().or_else(|| whoami::hostname().ok());
        let host_id = host_id.filter(|id| !id.is_empty()).unwrap_or_else(|| NAMELESS.to_owned());
        let api = Api::new(&host, dialer, tokens, &name, &host_id)?;
        let concurrency = usize::try_from(settings.task_concurrency).unwrap_or(usize::MAX);
        Ok(Self { api, sync, concurrency, batch: settings.overrides.batch })
    }

    /// Introduces the program to ConductorOne and runs its tasks against the connector at the other end of a
    /// channel. Calls `ready` once ConductorOne accepts the program. When `stop` is cancelled, takes no
    /// further tasks, stops syncs, and waits for the running tasks.
    ///
    /// # Errors
    /// [`ServiceError::Connector`], [`ServiceError::Refused`]
    pub(crate) async fn run(
        self,
        connector: Channel,
        ready: impl FnOnce(),
        stop: CancellationToken,
    ) -> Result<(), ServiceError> {
        let Self { api, sync, concurrency, batch } = self;
        // Before the first call, which may fail for hours.
        metrics::service_started();
        let temp_dir = sync.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        // Files of a process that was killed during a sync. Files that cannot be removed stay.
        let _ = tokio::task::spawn_blocking(move || c1z::remove_abandoned(&temp_dir)).await;
        let metadata = hello::metadata(&connector).await.map_err(ServiceError::Connector)?;
        hello::at_the_start(&api, metadata, &stop).await?;
        if !stop.is_cancelled() {
            tracing::info!(host_id = api.host_id(), "connected to ConductorOne, waiting for tasks");
            ready();
        }
        run::run(Context { api, connector, sync, stop }, concurrency, batch).await;
        Ok(())
    }
}
