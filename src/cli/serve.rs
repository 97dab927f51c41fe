//! `baton-retool serve`

use anyhow::Context;

use super::{
    CLIENT_ID, Failure, asked_to_stop, asked_twice_to_stop, cannot_listen, connector, endpoint, limits,
    look_ahead, security, serve_metrics,
};
use crate::config::{Settings, Sources};
use crate::server::{HealthServer, Server};

pub(super) async fn run(settings: Settings) -> Result<(), Failure> {
    let (stop, at_once) = (asked_to_stop(), asked_twice_to_stop());
    // Where the program before this one ran by itself, this is the only sign that something is missing. In
    // the child of an agent it is the agent's own.
    if Sources::of_process().variable(CLIENT_ID).is_some() {
        tracing::warn!(
            "{CLIENT_ID} is set, and this release does not connect to ConductorOne by itself: it answers the agent that calls it, and nothing is synced until one does"
        );
    }
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
        tokio::spawn(health.serve());
    }
    tracing::info!(address = listening.address(), version = env!("CARGO_PKG_VERSION"), "listening");
    listening.serve(stop, at_once).await.map_err(|error| Failure::Run(error.into()))
}
