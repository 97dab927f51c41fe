//! `baton-retool serve`

use anyhow::Context;

use super::{
    Failure, asked_to_stop, asked_twice_to_stop, cannot_listen, connector, endpoint, limits, look_ahead,
    security, serve_metrics,
};
use crate::config::Settings;
use crate::server::{HealthServer, Server};

pub(super) async fn run(settings: Settings) -> Result<(), Failure> {
    let (stop, at_once) = (asked_to_stop(), asked_twice_to_stop());
    let connector = connector(&settings)?;
    look_ahead(&connector);
    let server = Server::new(connector.clone())
        .with_limits(limits(&settings))
        .with_reflection(settings.server.reflection);
    let readiness = server.readiness();
    let listening = server.listen(&endpoint(&settings), security(&settings)).await.map_err(cannot_listen)?;
    serve_metrics(&settings).await.map_err(Failure::Run)?;
    if let Some(health) = &settings.health {
        let health = HealthServer::listen(&health.host, health.port, connector, readiness)
            .await
            .with_context(|| format!("cannot listen on {health} (--health-check-port)"))
            .map_err(Failure::Run)?;
        tokio::spawn(async move {
            if let Err(error) = health.serve().await {
                tracing::error!(%error, "the health endpoints have failed");
            }
        });
    }
    tracing::info!(address = listening.address(), version = env!("CARGO_PKG_VERSION"), "listening");
    listening.serve(stop, at_once).await.map_err(|error| Failure::Run(error.into()))
}
