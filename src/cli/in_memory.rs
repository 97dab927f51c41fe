//! A connection to a server within this process. It uses no port, so no other process can connect.

use std::io;
use std::sync::Arc;

use anyhow::Context;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tonic::transport::{Channel, Endpoint};

use crate::connector::Connector;
use crate::server::{Limits, Server};

/// The buffer of a connection within the process, in bytes per direction.
const BUFFER: usize = 1024 * 1024;

/// The flow control window in bytes: the largest answer of an agent's connector.
const WINDOW: u32 = 4 * 1024 * 1024;

/// Connects to a server once.
pub(super) async fn connect(server: Server) -> anyhow::Result<Channel> {
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        if let Err(error) = server.serve_in_memory(theirs).await {
            tracing::error!(%error, "the connector stopped unexpectedly");
        }
    });
    let mut ours = Some(TokioIo::new(ours));
    let connect = move |_| {
        let ours = ours.take().ok_or_else(|| io::Error::other("the connector stopped unexpectedly"));
        async move { ours }
    };
    endpoint()
        .connect_with_connector(tower::service_fn(connect))
        .await
        .context("cannot connect to the connector in this process")
}

/// A connection to a connector for the life of the process. It is opened at the first call, and again if it
/// breaks. Calls are logged and measured, and are limited by the deadline in `limits`.
pub(super) fn connect_lazily(connector: Arc<Connector>, limits: Limits) -> Channel {
    let dial = move |_| {
        let server = Server::new(Arc::clone(&connector)).with_limits(limits);
        async move { Ok::<_, io::Error>(TokioIo::new(serve(server))) }
    };
    // The server limits the calls. A timeout of this client would be the code Cancelled, which is not retried.
    endpoint().connect_with_connector_lazy(tower::service_fn(dial))
}

fn serve(server: Server) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        if let Err(error) = server.serve_in_memory_logged(theirs).await {
            tracing::error!(%error, "the connector stopped unexpectedly");
        }
    });
    ours
}

fn endpoint() -> Endpoint {
    Endpoint::from_static("http://in-memory")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
}
