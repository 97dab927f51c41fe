//! Everything between a socket and a service: listeners, TLS, authentication, limits, the access log and the
//! bodies of answers.

pub(crate) mod access_log;
mod allowance;
pub(crate) mod auth;
mod authority;
pub(crate) mod calls;
mod closer;
pub(crate) mod connection;
mod connection_slots;
pub(crate) mod deadline;
pub(crate) mod endpoint;
mod frame_budget;
mod grpc_only;
mod health_calls;
pub(crate) mod limits;
pub(crate) mod listener;
mod logged_status;
mod panic;
pub(crate) mod parent_handshake;
mod quota;
mod request_body;
pub(crate) mod request_memory;
mod response_body;
mod silence;
pub(crate) mod tls;
pub(crate) mod tokens;
mod who;

#[cfg(feature = "lambda")]
use std::convert::Infallible;
use std::time::Duration;

#[cfg(feature = "lambda")]
use http::{Request, Response};
use tokio::io::DuplexStream;
use tokio_stream::wrappers::ReceiverStream;
#[cfg(feature = "lambda")]
use tonic::body::Body;
use tonic::service::RoutesBuilder;
use tonic::transport::Error as TransportError;
#[cfg(feature = "lambda")]
use tower::{Layer, util::BoxCloneService};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

use crate::server::transport::access_log::AccessLogLayer;
use crate::server::transport::auth::TokenCheck;
use crate::server::transport::calls::CallLimitLayer;
use crate::server::transport::connection::{ConnectionLimits, CurrentTls};
use crate::server::transport::deadline::DeadlineLayer;
use crate::server::transport::grpc_only::GrpcOnly;
use crate::server::transport::limits::Limits;
use crate::server::transport::listener::Listener;
use crate::server::transport::request_memory::RequestMemoryLayer;

/// The longest time from the start of a connection to its first call.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A listening socket and the rules for its connections and calls.
pub(crate) struct Transport {
    pub(crate) listener: Listener,
    pub(crate) tls: Option<CurrentTls>,
    pub(crate) auth: TokenCheck,
    pub(crate) limits: Limits,
    /// The services refuse all changes.
    pub(crate) changes_are_off: bool,
}

/// The flow control window of a connection in memory, in bytes: enough for one of the largest answers.
const WINDOW: u32 = 4 * 1024 * 1024;

/// Answers the caller at the other end of a connection within this process until it disconnects.
///
/// # Errors
/// Serving failed.
pub(crate) async fn serve_in_memory(
    connection: DuplexStream,
    routes: RoutesBuilder,
) -> Result<(), TransportError> {
    tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .layer(CatchPanicLayer::custom(panic::internal_error))
        .add_routes(routes.routes())
        .serve_with_incoming(tokio_stream::once(Ok::<_, std::io::Error>(connection)))
        .await
}

/// Like [`serve_in_memory`], with an access log. A call that takes longer than `deadline` is answered with
/// DeadlineExceeded.
///
/// # Errors
/// Serving failed.
pub(crate) async fn serve_in_memory_logged(
    connection: DuplexStream,
    routes: RoutesBuilder,
    deadline: Duration,
) -> Result<(), TransportError> {
    tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .layer(AccessLogLayer::new(deadline))
        .layer(CatchPanicLayer::custom(panic::internal_error))
        .layer(DeadlineLayer::new(deadline))
        .add_routes(routes.routes())
        .serve_with_incoming(tokio_stream::once(Ok::<_, std::io::Error>(connection)))
        .await
}

/// Services for single calls within this process, with the limits and the access log of a port.
#[cfg(feature = "lambda")]
pub(crate) type InMemory = BoxCloneService<Request<Body>, Response<Body>, Infallible>;

/// Wraps these services for calls within this process.
#[cfg(feature = "lambda")]
pub(crate) fn in_memory(routes: RoutesBuilder, limits: &Limits, changes_are_off: bool) -> InMemory {
    let limited = CallLimitLayer::new(limits).layer(routes.routes());
    let remembered = RequestMemoryLayer::new(limits.request_bytes, changes_are_off).layer(limited);
    let caught = CatchPanicLayer::custom(panic::internal_error).layer(remembered);
    BoxCloneService::new(AccessLogLayer::new(limits.deadline).layer(caught))
}

impl Transport {
    /// Answers calls with these routes until `stop` is done and the calls in progress have ended.
    ///
    /// # Errors
    /// Serving failed.
    pub(crate) async fn serve(
        self,
        routes: RoutesBuilder,
        stop: impl Future<Output = ()>,
    ) -> Result<(), TransportError> {
        let Self { listener, tls, auth, limits, changes_are_off } = self;
        let connections = connection::accept_connections(
            listener,
            tls,
            ConnectionLimits {
                most: limits.connections,
                handshake: HANDSHAKE,
                silence: 2 * (limits.keepalive_interval + limits.keepalive_timeout),
            },
        );
        tonic::transport::Server::builder()
            .max_concurrent_streams(CallLimitLayer::streams(&limits))
            .http2_max_header_list_size(limits.header_bytes)
            .http2_keepalive_interval(Some(limits.keepalive_interval))
            .http2_keepalive_timeout(Some(limits.keepalive_timeout))
            .layer(AccessLogLayer::new(limits.deadline))
            .layer(CatchPanicLayer::custom(panic::internal_error))
            .layer(ValidateRequestHeaderLayer::custom(GrpcOnly))
            .layer(ValidateRequestHeaderLayer::custom(auth))
            // A request waits for memory before it counts as a call in progress.
            .layer(RequestMemoryLayer::new(limits.request_bytes, changes_are_off))
            .layer(CallLimitLayer::new(&limits))
            .add_routes(routes.routes())
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop)
            .await
    }
}
