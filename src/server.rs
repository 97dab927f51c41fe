//! The connector protocol over gRPC: one thin file per group of services, and everything around them.
//!
//! A file reads the request, calls the connector and shapes the answer. Requests have passed the
//! protocol's rules before they get here (see [`crate::proto::codec`]).

mod access_log;
mod accounts;
mod actions;
mod assets;
mod connector_service;
mod entitlements;
mod events;
mod grants;
mod ratelimit;
mod resources;
mod status;
mod tickets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_http::catch_panic::CatchPanicLayer;

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
use crate::proto::ratelimit::rate_limiter_service_server::RateLimiterServiceServer;
use crate::proto::{FILE_DESCRIPTOR_SET, descriptor_pool};

/// Answers every service from one connector.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    connector: Arc<Connector>,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another one with --listen")]
    Listen {
        /// As configured.
        address: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Serving broke off.
    #[error("serving failed: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// Reflection found the embedded protocol unusable.
    #[error("the embedded protocol description is unusable: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// How long calls may still take once the server has been told to stop.
const GRACE: Duration = Duration::from_secs(30);

impl Listening {
    /// Takes the address. Port 0 takes any free one.
    ///
    /// # Errors
    /// [`Error::Listen`]
    pub async fn on(host: &str, port: u16) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: format!("{host}:{port}"), source };
        let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is done, then finishes what is under way, for 30 seconds at the most.
    ///
    /// # Errors
    /// [`Error::Serve`], [`Error::Reflection`]
    pub async fn serve(self, connector: Arc<Connector>, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let (health, health_service) = tonic_health::server::health_reporter();
        let mut routes = RoutesBuilder::default();
        routes.add_service(health_service);
        routes.add_service(reflection().build_v1()?);
        routes.add_service(reflection().build_v1alpha()?);
        add_services(&mut routes, &Service { connector });
        set_health(&health, ServingStatus::Serving).await;

        // Without nodelay each call waits some 40 ms for the client's delayed acknowledgement.
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = Server::builder()
            .layer(access_log::AccessLogLayer)
            .layer(CatchPanicLayer::custom(status::panicked))
            .add_routes(routes.routes())
            .serve_with_incoming_shutdown(incoming, async {
                // Either way the server is to stop.
                let _ = stopped.await;
            });
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            result = &mut serving => return Ok(result?),
            () = stop => {}
        }
        tracing::info!(grace_seconds = GRACE.as_secs(), "stopping; calls under way are finished");
        set_health(&health, ServingStatus::NotServing).await;
        drop(stopping);
        match tokio::time::timeout(GRACE, serving).await {
            Ok(result) => Ok(result?),
            Err(_) => {
                tracing::warn!("calls were still under way when the grace period ended");
                Ok(())
            }
        }
    }
}

/// What a listing request says about paging.
fn page_request(size: u32, token: &str) -> Result<PageRequest<'_>, connector::error::Error> {
    Ok(PageRequest { size: PageSize::try_from(size)?, token })
}

/// Everything that a connector child registers, whatever the connector can do (protocol, "Services").
fn add_services(routes: &mut RoutesBuilder, service: &Service) {
    routes
        .add_service(ConnectorServiceServer::new(service.clone()))
        .add_service(ResourceTypesServiceServer::new(service.clone()))
        .add_service(ResourcesServiceServer::new(service.clone()))
        .add_service(ResourceGetterServiceServer::new(service.clone()))
        .add_service(EntitlementsServiceServer::new(service.clone()))
        .add_service(GrantsServiceServer::new(service.clone()))
        .add_service(AssetServiceServer::new(service.clone()))
        .add_service(EventServiceServer::new(service.clone()))
        .add_service(ActionServiceServer::new(service.clone()))
        .add_service(TicketsServiceServer::new(service.clone()))
        .add_service(GrantManagerServiceServer::new(service.clone()))
        .add_service(ResourceManagerServiceServer::new(service.clone()))
        .add_service(ResourceDeleterServiceServer::new(service.clone()))
        .add_service(AccountManagerServiceServer::new(service.clone()))
        .add_service(CredentialManagerServiceServer::new(service.clone()))
        .add_service(RateLimiterServiceServer::new(service.clone()));
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

/// Sets the health of the whole server and of each registered service.
async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in std::iter::once(String::new()).chain(served()) {
        health.set_service_status(service, status).await;
    }
}
