//! The connector protocol over gRPC.
//!
//! `services` has one thin file per group of services, `transport` everything between a socket and a service.
//! This file combines them: which services are served, on which address, and how the server stops.

mod error;
mod grpc_health;
mod http_health;
#[cfg(feature = "lambda")]
pub(crate) mod lambda;
mod rate_limiter;
mod services;
mod settings;
pub(crate) mod transport;

use std::sync::Arc;

use tokio::io::DuplexStream;
use tonic::service::RoutesBuilder;
use tonic_health::ServingStatus;

pub(crate) use error::Error;
pub(crate) use http_health::{HealthServer, Readiness};
pub(crate) use settings::{HealthSettings, ServerSettings};
#[cfg(feature = "lambda")]
pub(crate) use transport::InMemory;
pub(crate) use transport::endpoint::{Endpoint, Security};
pub(crate) use transport::limits::Limits;
pub(crate) use transport::parent_handshake::accept_parent_connection;

use crate::connector::Connector;
use crate::connector::paging::PageRequest;
use crate::proto::ratelimit::RateLimiterConfig;
use crate::proto::utls::Credential;
use crate::server::rate_limiter::RateLimiter;
use crate::server::services::Services;
use crate::server::services::action_wait::ActionWait;
use crate::server::transport::auth::TokenCheck;
use crate::server::transport::connection::CurrentTls;
use crate::server::transport::listener::Listener;
use crate::server::transport::tokens::Tokens;
use crate::server::transport::{Transport, limits, tls};

/// A server, not yet listening.
#[derive(Debug)]
pub(crate) struct Server {
    connector: Arc<Connector>,
    limiter: RateLimiter,
    limits: Limits,
    reflection: bool,
    page_bytes: usize,
    action_wait: ActionWait,
    readiness: Readiness,
}

/// A server that listens and does not answer yet.
pub(crate) struct Listening {
    server: Server,
    address: String,
    transport: Transport,
}

/// Largest request to the reflection service, in bytes: the name of a service or a file.
const QUESTION: usize = 16 * 1024;

impl Server {
    /// Creates a server of this connector with the default limits, reflection, and no rate limiter.
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self {
            connector,
            limiter: RateLimiter::default(),
            limits: Limits::default(),
            reflection: ServerSettings::REFLECTION,
            page_bytes: PageRequest::BYTES,
            action_wait: ActionWait::AsRequested,
            readiness: Readiness::default(),
        }
    }

    /// Sets the limits.
    #[must_use]
    pub(crate) fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Enables or disables reflection.
    #[must_use]
    pub(crate) fn with_reflection(self, reflection: bool) -> Self {
        Self { reflection, ..self }
    }

    /// Sets the size of a page in bytes, for requests that leave it to the server.
    #[cfg(feature = "lambda")]
    #[must_use]
    pub(crate) fn with_page_bytes(self, page_bytes: usize) -> Self {
        Self { page_bytes, ..self }
    }

    /// Answers a call that starts an action when the action has ended, if the deadline of the call allows.
    #[cfg(feature = "lambda")]
    #[must_use]
    pub(crate) fn awaiting_actions(self) -> Self {
        Self { action_wait: ActionWait::UntilDeadline, ..self }
    }

    /// The services as they are behind a port, for single calls within this process.
    #[cfg(feature = "lambda")]
    pub(crate) fn in_memory(self) -> InMemory {
        let mut routes = RoutesBuilder::default();
        self.services().register(&mut routes, self.limits);
        transport::in_memory(routes, &self.limits, self.connector.changes_are_off())
    }

    /// Reports whether the server accepts calls; stays valid after the server has begun to stop.
    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Listens according to `endpoint` and `security`.
    ///
    /// # Errors
    /// [`Error::Plaintext`], [`Error::Listen`], [`Error::Tls`], [`Error::Tokens`]
    pub(crate) async fn listen(self, endpoint: &Endpoint, security: Security) -> Result<Listening, Error> {
        let failed = |source| Error::Listen { address: endpoint.to_string(), source };
        let listener = match endpoint {
            Endpoint::Tcp { host, port } => Listener::tcp(host, *port).await,
            Endpoint::Unix(path) => Listener::unix(path).await,
        }
        .map_err(failed)?;
        // A name can resolve to any address, so the check uses the resolved address.
        let wide = listener.is_wide().map_err(failed)?;
        security.check_exposure(endpoint, wide)?;
        if wide && security.tls.is_none() {
            tracing::warn!(address = %endpoint, "the server accepts unencrypted connections on an address that other machines can reach");
        }
        let without_proof = security.token_file.is_none()
            && security.tls.as_ref().is_none_or(|files| files.client_ca.is_none());
        if wide && without_proof {
            tracing::warn!(address = %endpoint, "everyone who reaches this address can read who has access to what; set --tls-client-ca or --auth-token-file");
        }
        let tls = security.tls.map(tls::of_files).transpose()?;
        let tokens = security.token_file.map(Tokens::watch).transpose()?;
        limits::allow_open_files(self.limits.connections);
        let address = listener.address().map_err(failed)?;
        let auth = TokenCheck { tokens, open_health: security.open_health };
        let changes_are_off = self.connector.changes_are_off();
        let transport = Transport { listener, tls, auth, limits: self.limits, changes_are_off };
        Ok(Listening { server: self, address, transport })
    }

    /// Serves a parent process on the socket that it has passed to this process, with the rate limiter and
    /// the credential that it has sent.
    ///
    /// # Errors
    /// [`Error::Tls`], [`Error::Limiter`], [`Error::Listen`]
    pub(crate) fn adopt(
        mut self,
        listener: std::net::TcpListener,
        credential: &Credential,
        limiter: Option<&RateLimiterConfig>,
    ) -> Result<Listening, Error> {
        let config = tls::of_parent(credential)?;
        self.limiter = RateLimiter::new(limiter)?;
        let failed = |source| Error::Listen { address: "the parent's socket".to_owned(), source };
        let listener = Listener::inherited(listener).map_err(failed)?;
        let address = listener.address().map_err(failed)?;
        let tls: CurrentTls = Arc::new(move || Arc::clone(&config));
        let auth = TokenCheck { tokens: None, open_health: false };
        let changes_are_off = self.connector.changes_are_off();
        let transport = Transport { listener, tls: Some(tls), auth, limits: self.limits, changes_are_off };
        Ok(Listening { server: self, address, transport })
    }

    /// Answers one caller in this process until it disconnects: without a port, without limits on the caller,
    /// and without an access log.
    ///
    /// # Errors
    /// [`Error::Serve`]
    pub(crate) async fn serve_in_memory(self, connection: DuplexStream) -> Result<(), Error> {
        let mut routes = RoutesBuilder::default();
        self.services().register(&mut routes, self.limits);
        Ok(transport::serve_in_memory(connection, routes).await?)
    }

    /// Like [`Server::serve_in_memory`], with a line in the access log, a span and metrics for each call: for
    /// a caller that runs as long as the program and serves others.
    ///
    /// # Errors
    /// [`Error::Serve`]
    pub(crate) async fn serve_in_memory_logged(self, connection: DuplexStream) -> Result<(), Error> {
        let mut routes = RoutesBuilder::default();
        self.services().register(&mut routes, self.limits);
        Ok(transport::serve_in_memory_logged(connection, routes, self.limits.deadline).await?)
    }

    fn services(&self) -> Services {
        Services {
            connector: Arc::clone(&self.connector),
            limiter: Arc::new(self.limiter.clone()),
            deadline: self.limits.deadline,
            page_bytes: self.page_bytes,
            action_wait: self.action_wait,
        }
    }
}

impl Listening {
    /// The address of the listener, as users write it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Answers until `stop` is done, then finishes the calls in progress, until the grace period has
    /// passed or `at_once` is done.
    ///
    /// # Errors
    /// [`Error::Serve`], [`Error::Reflection`]
    pub(crate) async fn serve(
        self,
        stop: impl Future<Output = ()>,
        at_once: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let Self { server, transport, .. } = self;
        let Server { limits, ref connector, ref readiness, .. } = server;
        let (health, health_service) = tonic_health::server::health_reporter();
        let mut routes = RoutesBuilder::default();
        routes.add_service(health_service.max_decoding_message_size(grpc_health::LARGEST_REQUEST));
        if server.reflection {
            routes.add_service(services::reflection().build_v1()?.max_decoding_message_size(QUESTION));
            routes.add_service(services::reflection().build_v1alpha()?.max_decoding_message_size(QUESTION));
        }
        server.services().register(&mut routes, limits);
        grpc_health::set_status(&health, ServingStatus::Serving).await;
        readiness.set(true);

        let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut serving = std::pin::pin!(transport.serve(routes, async {
            // If the sender is dropped, the server stops as well.
            let _ = stopped.await;
        }));
        tokio::select! {
            result = &mut serving => return Ok(result?),
            () = stop => {}
        }
        readiness.set(false);
        grpc_health::set_status(&health, ServingStatus::NotServing).await;
        // Watchers have received the status; their calls would otherwise last until the grace period ends.
        grpc_health::end_watches(&health).await;
        tracing::info!(grace_seconds = limits.grace.as_secs(), "stopping; finishing calls in progress");
        drop(stopping);
        // An action can continue after the call that started it has been answered.
        let finished = async {
            serving.await?;
            connector.actions_ended().await;
            Ok(())
        };
        tokio::select! {
            result = finished => return result,
            () = tokio::time::sleep(limits.grace) => {
                let actions = connector.actions_in_progress();
                tracing::warn!(actions, "calls were still in progress when the grace period ended");
            }
            () = at_once => tracing::warn!("stopping at once"),
        }
        connector.interrupt_changes();
        Ok(())
    }

    /// Answers a parent process and does not stop on its own. A parent expects no reflection and no health
    /// service on this port.
    ///
    /// # Errors
    /// [`Error::Serve`]
    pub(crate) async fn serve_parent(self) -> Result<(), Error> {
        let mut routes = RoutesBuilder::default();
        self.server.services().register(&mut routes, self.server.limits);
        Ok(self.transport.serve(routes, std::future::pending()).await?)
    }
}
