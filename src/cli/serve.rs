//! `baton-retool serve`

use anyhow::Context;
use clap::{ArgMatches, Command};

use crate::cli::failure::Failure;
use crate::cli::signals::{handle_other_signals, stop_requested, stop_requested_twice};
use crate::cli::wiring::{self, block_on, check_database_in_background, connector, serve_metrics};
use crate::config::{self, Settings, Sources};
use crate::server::{HealthServer, Server};

/// The name of the command.
pub(super) const NAME: &str = "serve";

/// The variable that makes the program poll ConductorOne for tasks.
pub(super) const CLIENT_ID: &str = "BATON_CLIENT_ID";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Serve the baton connector protocol on a port, with gRPC reflection and health checks")
        .long_about("Serves the baton connector protocol on --listen, for an agent or for grpcurl, with gRPC reflection and the standard health service. On Ctrl-C or SIGTERM it finishes the running calls and stops.")
        .after_help("Examples:\n  baton-retool serve\n  baton-retool serve --provisioning --listen 0.0.0.0:8080 --tls-cert cert.pem --tls-key key.pem --auth-token-file tokens")
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    config::check_unused(matches, &Sources::of_process()).map_err(Failure::usage)?;
    wiring::settings(matches).and_then(|settings| block_on(serve(settings)))
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let (stop, at_once) = (stop_requested(), stop_requested_twice());
    handle_other_signals();
    // An operator who expects service mode sees the wrong command only here. In the child of an agent, the variable
    // belongs to the agent.
    if Sources::of_process().variable(CLIENT_ID).is_some() {
        tracing::warn!(
            "{CLIENT_ID} has no effect on `serve`, which only answers the calls of an agent; run the program without a command to get tasks from ConductorOne"
        );
    }
    let connector = connector(&settings)?;
    check_database_in_background(&connector);
    let server = Server::new(connector.clone())
        .with_limits(settings.server.limits)
        .with_reflection(settings.server.reflection);
    let readiness = server.readiness();
    let listening = server.listen(&settings.server.listen, settings.server.security.clone()).await?;
    serve_metrics(&settings).await.map_err(Failure::Run)?;
    if let Some(health) = &settings.health {
        let health = HealthServer::listen(health, connector, readiness)
            .await
            .with_context(|| format!("cannot listen on {health} (--health-check-port)"))
            .map_err(Failure::Run)?;
        tokio::spawn(health.serve());
    }
    tracing::info!(address = listening.address(), version = env!("CARGO_PKG_VERSION"), "listening");
    listening.serve(stop, at_once).await.map_err(Failure::run)
}
