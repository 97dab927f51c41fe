//! The connector protocol over gRPC: one thin file per group of services, and everything around them.
//!
//! A file reads the request, calls the connector and shapes the answer. Requests have passed the
//! protocol's rules before they get here (see [`crate::proto::codec`]).

mod access_log;
mod accounts;
mod actions;
mod assets;
mod auth;
mod caller;
mod connector_service;
mod ending;
mod endpoint;
mod entitlements;
mod error;
mod events;
mod farewell;
mod grants;
mod health;
mod incoming;
mod limits;
mod listener;
mod outgoing;
mod ratelimit;
mod resources;
mod settings;
mod status;
mod tickets;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::service::RoutesBuilder;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_http::catch_panic::CatchPanicLayer;

pub use auth::TokenError;
pub use endpoint::{Endpoint, Security};
pub use error::Error;
pub use farewell::connect_parent;
pub use health::{HealthServer, Readiness};
pub use limits::Limits;
pub use ratelimit::LimiterError;
pub use settings::{HealthSettings, ServerSettings};
pub use tls::{TlsError, TlsFiles};

use crate::connector::paging::{PageRequest, PageSize};
use crate::connector::{self, Connector};
use crate::proto::connector::{
    account_manager_service_server::AccountManagerServiceServer, action_service_server::ActionServiceServer,
    asset_service_server::AssetServiceServer, connector_service_server::ConnectorServiceServer,
    credential_manager_service_server::CredentialManagerServiceServer,
    entitlements_service_server::EntitlementsServiceServer, event_service_server::EventServiceServer,
    grant_manager_service_server::GrantManagerServiceServer, grants_service_server::GrantsServiceServer,
    resource_deleter_service_server::ResourceDeleterServiceServer,
    resource_getter_service_server::ResourceGetterServiceServer,
    resource_manager_service_server::ResourceManagerServiceServer,
    resource_types_service_server::ResourceTypesServiceServer,
    resources_service_server::ResourcesServiceServer, tickets_service_server::TicketsServiceServer,
};
use crate::proto::ratelimit::RateLimiterConfig;
use crate::proto::ratelimit::rate_limiter_service_server::RateLimiterServiceServer;
use crate::proto::utls::Credential;
use crate::proto::{FILE_DESCRIPTOR_SET, descriptor_pool};

use auth::{AuthLayer, Tokens};
use incoming::{ConnectionLimits, CurrentTls};
use limits::RoomLayer;
use listener::Listener;
use ratelimit::RateLimiter;

/// A server, not yet listening.
#[derive(Debug)]
pub struct Server {
    connector: Arc<Connector>,
    limiter: RateLimiter,
    limits: Limits,
    reflection: bool,
    readiness: Readiness,
}

/// A server that listens and does not answer yet.
pub struct Listening {
    server: Server,
    listener: Listener,
    address: String,
    tls: Option<CurrentTls>,
    auth: AuthLayer,
}

/// Answers every service from one connector.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    connector: Arc<Connector>,
    limiter: Arc<RateLimiter>,
    /// Longest that a call may take.
    deadline: Duration,
}

impl Server {
    /// A server of this connector with the usual limits, reflection, and no rate limiter.
    pub fn new(connector: Arc<Connector>) -> Self {
        Self {
            connector,
            limiter: RateLimiter::default(),
            limits: Limits::default(),
            reflection: ServerSettings::REFLECTION,
            readiness: Readiness::default(),
        }
    }

    /// Other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// With or without reflection.
    #[must_use]
    pub fn with_reflection(self, reflection: bool) -> Self {
        Self { reflection, ..self }
    }

    /// Tells whether the server takes calls, also after it has begun to stop.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Listens as `endpoint` and `security` say.
    ///
    /// # Errors
    /// [`Error::Plaintext`], [`Error::Listen`], [`Error::Tls`], [`Error::Tokens`]
    pub async fn listen(self, endpoint: &Endpoint, security: Security) -> Result<Listening, Error> {
        let failed = |source| Error::Listen { address: endpoint.to_string(), source };
        let listener = match endpoint {
            Endpoint::Tcp { host, port } => Listener::tcp(host, *port).await,
            Endpoint::Unix(path) => Listener::unix(path).await,
        }
        .map_err(failed)?;
        // A name may stand for any address, so that the one it has led to counts.
        let wide = listener.is_wide().map_err(failed)?;
        security.check_exposure(endpoint, wide)?;
        if wide && security.tls.is_none() {
            tracing::warn!(address = %endpoint, "plaintext on an address that other machines can reach");
        }
        let without_proof = security.token_file.is_none()
            && security.tls.as_ref().is_none_or(|files| files.client_ca.is_none());
        if wide && without_proof {
            tracing::warn!(address = %endpoint, "whoever reaches this address can read who has access to what; set --tls-client-ca or --auth-token-file");
        }
        let tls = security.tls.map(tls::of_files).transpose()?;
        let tokens = security.token_file.map(Tokens::watch).transpose()?;
        limits::allow_open_files(self.limits.connections);
        let address = listener.address().map_err(failed)?;
        let auth = AuthLayer { tokens, open_health: security.open_health };
        Ok(Listening { server: self, listener, address, tls, auth })
    }

    /// Serves a parent process on the socket that it has handed over, with the rate limiter and the
    /// credential that it has sent.
    ///
    /// # Errors
    /// [`Error::Tls`], [`Error::Limiter`], [`Error::Listen`]
    pub fn adopt(
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
        let auth = AuthLayer { tokens: None, open_health: false };
        Ok(Listening { server: self, listener, address, tls: Some(tls), auth })
    }

    fn service(&self) -> Service {
        Service {
            connector: Arc::clone(&self.connector),
            limiter: Arc::new(self.limiter.clone()),
            deadline: self.limits.deadline,
        }
    }
}

impl Listening {
    /// Where it listens, as people write it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Answers until `stop` is done, then finishes what is under way: until the grace period has passed
    /// or `at_once` is done.
    ///
    /// # Errors
    /// [`Error::Serve`], [`Error::Reflection`]
    pub async fn serve(
        self,
        stop: impl Future<Output = ()>,
        at_once: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let Server { limits, reflection: reflect, ref readiness, .. } = self.server;
        let readiness = readiness.clone();
        let (health, health_service) = tonic_health::server::health_reporter();
        let mut routes = RoutesBuilder::default();
        routes.add_service(health_service);
        if reflect {
            routes.add_service(reflection().build_v1()?);
            routes.add_service(reflection().build_v1alpha()?);
        }
        add_services(&mut routes, &self.server.service(), limits);
        set_health(&health, ServingStatus::Serving).await;
        readiness.set(true);

        let connector = Arc::clone(&self.server.connector);
        let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut serving = std::pin::pin!(self.answer(routes, async {
            // Either way the server is to stop.
            let _ = stopped.await;
        }));
        tokio::select! {
            result = &mut serving => return result,
            () = stop => {}
        }
        readiness.set(false);
        set_health(&health, ServingStatus::NotServing).await;
        // Whoever watches the health has heard; their calls would last until the grace period ends.
        end_health(&health).await;
        tracing::info!(grace_seconds = limits.grace.as_secs(), "stopping; calls under way are finished");
        drop(stopping);
        // An action goes on when the call that began it has been answered.
        let finished = async {
            serving.await?;
            connector.actions_ended().await;
            Ok(())
        };
        tokio::select! {
            result = finished => return result,
            () = tokio::time::sleep(limits.grace) => {
                let actions = connector.actions_under_way();
                tracing::warn!(actions, "calls were still under way when the grace period ended");
            }
            () = at_once => tracing::warn!("stopping at once"),
        }
        Ok(())
    }

    /// Answers a parent process, and never stops by itself. There is no reflection and no health service
    /// there (spec, child process 7).
    ///
    /// # Errors
    /// [`Error::Serve`]
    pub async fn serve_parent(self) -> Result<(), Error> {
        let mut routes = RoutesBuilder::default();
        add_services(&mut routes, &self.server.service(), self.server.limits);
        self.answer(routes, std::future::pending()).await
    }

    async fn answer(self, routes: RoutesBuilder, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let limits = self.server.limits;
        let connections = incoming::connections(
            self.listener,
            self.tls,
            ConnectionLimits {
                most: limits.connections,
                handshake: HANDSHAKE,
                silence: 2 * (limits.keepalive_interval + limits.keepalive_timeout),
            },
        );
        tonic::transport::Server::builder()
            .max_concurrent_streams(limits.streams)
            .http2_max_header_list_size(limits.header_bytes)
            .http2_keepalive_interval(Some(limits.keepalive_interval))
            .http2_keepalive_timeout(Some(limits.keepalive_timeout))
            .layer(access_log::AccessLogLayer { deadline: limits.deadline })
            .layer(CatchPanicLayer::custom(status::panicked))
            .layer(self.auth)
            .layer(RoomLayer::new(&limits))
            .add_routes(routes.routes())
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop)
            .await?;
        Ok(())
    }
}

/// What the paths of health checks begin with.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// How long a connection may take before its first call.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a listing request says about paging.
fn page_request(size: u32, token: &str) -> Result<PageRequest<'_>, connector::error::Error> {
    Ok(PageRequest { size: PageSize::try_from(size)?, token })
}

/// Everything that a connector child registers, whatever the connector can do (protocol, "Services").
fn add_services(routes: &mut RoutesBuilder, service: &Service, limits: Limits) {
    macro_rules! add {
        ($($server:ident),+ $(,)?) => {$(
            routes.add_service(
                $server::new(service.clone())
                    // Nobody compresses by default, but every version of the child has taken it.
                    .accept_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(limits.request_bytes)
                    .max_encoding_message_size(limits.response_bytes),
            );
        )+};
    }
    add!(
        ConnectorServiceServer,
        ResourceTypesServiceServer,
        ResourcesServiceServer,
        ResourceGetterServiceServer,
        EntitlementsServiceServer,
        GrantsServiceServer,
        AssetServiceServer,
        EventServiceServer,
        ActionServiceServer,
        TicketsServiceServer,
        GrantManagerServiceServer,
        ResourceManagerServiceServer,
        ResourceDeleterServiceServer,
        AccountManagerServiceServer,
        CredentialManagerServiceServer,
        RateLimiterServiceServer,
    );
}

/// The services of the protocol that [`add_services`] registers: all that there are but `SchemaService`,
/// which the protocol declares and nobody serves.
fn served() -> impl Iterator<Item = String> {
    descriptor_pool()
        .services()
        .filter(|service| service.name() != "SchemaService")
        .map(|service| service.full_name().to_owned())
}

/// Reflection needs the health service's description too, or clients cannot call that by name, and that
/// of error details, or they cannot show them.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    served().fold(builder, |builder, name| builder.with_service_name(name))
}

/// Ends the calls that watch the health.
async fn end_health(health: &HealthReporter) {
    let mut health = health.clone();
    for service in std::iter::once(String::new()).chain(served()) {
        health.clear_service_status(&service).await;
    }
}

/// Sets the health of the whole server and of each registered service.
async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in std::iter::once(String::new()).chain(served()) {
        health.set_service_status(service, status).await;
    }
}
