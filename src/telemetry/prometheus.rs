//! The metrics over plain HTTP, for Prometheus.

use std::convert::Infallible;
use std::io;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::address::HostAndPort;
use crate::monitoring_http;
use crate::telemetry::metrics;

/// The content type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/metrics`.
#[derive(Debug)]
pub(crate) struct MetricsServer {
    listener: TcpListener,
}

impl MetricsServer {
    /// Binds the address.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) async fn listen(address: &HostAndPort) -> io::Result<Self> {
        let listener = TcpListener::bind((address.host.as_str(), address.port)).await?;
        tracing::info!(address = %listener.local_addr()?, "metrics listening");
        Ok(Self { listener })
    }

    /// Answers until dropped.
    pub(crate) async fn serve(self) -> Infallible {
        let router = Router::new()
            .route("/metrics", get(scrape))
            .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") });
        monitoring_http::serve(self.listener, router).await
    }
}

async fn scrape() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT)], metrics::render())
}
