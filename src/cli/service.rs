//! Service mode: the program without a command but with client credentials of ConductorOne.

use anyhow::Context;
use clap::ArgMatches;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::agent::service::{Service, ServiceError, ServiceSettings};
use crate::agent::sync::SyncSettings;
use crate::cli::failure::Failure;
use crate::cli::signals::{handle_other_signals, stop_requested, stop_requested_twice};
use crate::cli::wiring::{self, block_on, check_database_in_background, connector, serve_metrics};
use crate::cli::{change, in_memory, sync};
use crate::config::{self, Settings, Sources};
use crate::server::{HealthServer, Readiness};

/// Runs the program without a command: service mode if client credentials of ConductorOne are configured
/// (decision mode-by-client); otherwise the requested one-shot change, or a one-shot sync.
pub(super) fn run_bare(matches: &ArgMatches) -> Result<(), Failure> {
    let sources = Sources::of_process();
    if let Some(service) = config::load_service(matches, &sources).map_err(Failure::usage)? {
        return run(matches, service);
    }
    match config::load_change(matches, &sources).map_err(Failure::usage)? {
        Some(asked) => change::run(matches, asked),
        None => sync::run(matches),
    }
}

fn run(matches: &ArgMatches, service: ServiceSettings) -> Result<(), Failure> {
    let sync = sync::sync_settings(matches)?;
    let asked = config::change_asked_for(matches, &Sources::of_process()).map_err(Failure::usage)?;
    let settings = wiring::settings(matches)?;
    if let Some(verb) = asked {
        tracing::warn!(
            "--{verb} has no effect with --client-id, because ConductorOne requests changes; remove --client-id to make one change"
        );
    }
    if sync.file_is_given {
        tracing::warn!(
            "--file has no effect with --client-id, because ConductorOne receives the file; use `baton-retool sync` to write a file"
        );
    }
    block_on(serve(settings, service, sync))
}

async fn serve(settings: Settings, service: ServiceSettings, sync: SyncSettings) -> Result<(), Failure> {
    let (stop_signal, at_once) = (stop_requested(), stop_requested_twice());
    handle_other_signals();
    let connector = connector(&settings)?;
    let service = Service::new(&service, sync)?;
    check_database_in_background(&connector);
    serve_metrics(&settings).await.map_err(Failure::Run)?;
    let readiness = Readiness::default();
    if let Some(health) = &settings.health {
        let health = HealthServer::listen(health, connector.clone(), readiness.clone())
            .await
            .with_context(|| format!("cannot listen on {health} (--health-check-port)"))
            .map_err(Failure::Run)?;
        tokio::spawn(health.serve());
    }
    let limits = settings.server.limits;
    let channel = in_memory::connect_lazily(connector.clone(), limits);
    let stop = CancellationToken::new();
    let ready = || readiness.set(true);
    let mut running = std::pin::pin!(async {
        service.run(channel, ready, stop.clone()).await?;
        // An action can continue after its task has been reported.
        connector.actions_ended().await;
        Ok::<_, ServiceError>(())
    });
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        () = stop_signal => {}
    }
    readiness.set(false);
    stop.cancel();
    tracing::info!(
        grace_seconds = limits.grace.as_secs(),
        "stopping: finishing running tasks, cancelling syncs"
    );
    tokio::select! {
        ended = running => return Ok(ended?),
        () = sleep(limits.grace) => {
            tracing::warn!("the grace period ended before all tasks finished; ConductorOne assigns them again");
        }
        () = at_once => tracing::warn!("stopping at once"),
    }
    connector.interrupt_changes();
    Ok(())
}

impl From<ServiceError> for Failure {
    /// A service that cannot run, because of a setting or because ConductorOne refuses it.
    fn from(error: ServiceError) -> Self {
        if error.is_a_setting() { Self::usage(error) } else { Self::run(error) }
    }
}
