//! An HTTP server for monitoring: the probes and Prometheus. It has no authentication, so it accepts few
//! connections, each for a short time: they never take the file descriptors that agents' connections need.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at a time; one more is closed at once.
pub(crate) const CONNECTIONS: usize = 32;
/// How long a request may take to arrive.
const REQUEST: Duration = Duration::from_secs(5);
/// How long a connection may last: a request, the answer that takes longest, which is that of `/health`
/// with its 30 seconds, and the way.
const CONNECTION: Duration = Duration::from_secs(60);
/// Pause after a connection that could not be accepted, such as without free file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers one request on each connection, until dropped.
pub(crate) async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST).keep_alive(false);
    let mut full = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not take a connection over HTTP");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            if !std::mem::replace(&mut full, true) {
                let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
                tracing::warn!(
                    address,
                    peer.address = %peer,
                    most = CONNECTIONS,
                    "closed a new connection over HTTP: too many are open; that port is for probes and Prometheus alone"
                );
            }
            continue;
        };
        full = false;
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            // The client is gone, or took too long: there is nothing left to answer.
            let _ = timeout(CONNECTION, connection).await;
            drop(place);
        });
    }
}
