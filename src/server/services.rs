//! The gRPC services: one thin file per group. A method reads the request, calls the connector and builds the
//! answer. Requests have already passed the validation rules of the protocol (see [`crate::proto::codec`]).

mod accounts;
pub(crate) mod action_wait;
mod actions;
mod assets;
mod caller;
mod connector;
mod entitlements;
mod events;
mod grants;
mod rate_limiter;
mod resources;
mod status;
mod tickets;

use std::sync::Arc;
use std::time::Duration;

use tonic::Request;
use tonic::codec::CompressionEncoding;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;

use crate::connector::Connector;
use crate::connector::error::Error as ConnectorError;
use crate::connector::paging::{PageRequest, PageSize};
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
use crate::server::rate_limiter::RateLimiter;
use crate::server::services::action_wait::ActionWait;
use crate::server::transport::deadline::call_timeout;
use crate::server::transport::limits::Limits;
use crate::server::transport::request_memory::longest_of_service;

/// Answers every service from one connector.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) connector: Arc<Connector>,
    pub(crate) limiter: Arc<RateLimiter>,
    /// Longest duration of a call.
    pub(crate) deadline: Duration,
    /// Largest page of a listing in bytes.
    pub(crate) page_bytes: usize,
    /// How long an answer waits for the end of an action.
    pub(crate) action_wait: ActionWait,
}

impl Services {
    /// Registers every service that a connector child registers, including services that the connector does
    /// not support.
    pub(crate) fn register(&self, routes: &mut RoutesBuilder, limits: Limits) {
        macro_rules! add {
            ($($server:ident),+ $(,)?) => {$(
                routes.add_service(
                    $server::new(self.clone())
                        // Clients do not compress by default, but every version of the child has accepted
                        // compression.
                        .accept_compressed(CompressionEncoding::Gzip)
                        .max_decoding_message_size(longest_of_service(
                            <$server<Self> as NamedService>::NAME,
                            limits.request_bytes,
                        ))
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

    /// The time that a call has.
    fn time<T>(&self, request: &Request<T>) -> Duration {
        call_timeout(request.metadata().as_ref(), self.deadline)
    }

    /// The paging parameters of a listing request.
    fn page_request<'a>(&self, size: u32, token: &'a str) -> Result<PageRequest<'a>, ConnectorError> {
        Ok(PageRequest { size: PageSize::try_from(size)?, token, bytes: self.page_bytes })
    }
}

/// The names of the services that [`Services::register`] registers: all services of the protocol except
/// `SchemaService`, which no connector serves, and `BatonService` and `ConnectorConfigService`, which
/// ConductorOne serves.
pub(crate) fn names() -> impl Iterator<Item = String> {
    descriptor_pool()
        .services()
        .filter(|service| {
            !["SchemaService", "BatonService", "ConnectorConfigService"].contains(&service.name())
        })
        .map(|service| service.full_name().to_owned())
}

/// Reflection of the registered services. It also describes the health service, which clients could not call
/// by name otherwise, and error details, which clients could not display.
pub(crate) fn reflection() -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    names().fold(builder, |builder, name| builder.with_service_name(name))
}
