//! Builds connectors from served configurations.

use std::sync::Arc;

use clap::ArgMatches;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::agent::hosted::{ConfigService, EgressPolicy, HostedSettings, Served};
use crate::cli::failure::Failure;
use crate::cli::lambda::egress;
use crate::cli::wiring::{check_database_in_background, connection, connector_to};
use crate::config::{self, InForce, Settings, Sources, Warning};
use crate::connector::actions::runs::Runs;
use crate::server::Server;
use crate::server::lambda::{Configurations, DebugUntil, Generation, PAGE_BYTES};

/// Builds connectors from the configurations that ConductorOne serves and from the other sources of settings.
pub(crate) struct Generations {
    matches: ArgMatches,
    sources: Sources,
    service: ConfigService,
    /// The runs of actions. A caller can request one after the connector that started it was replaced.
    runs: Arc<Runs>,
}

/// Settings of a hosted connector.
pub(crate) struct Effective {
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<Warning>,
    /// When debug logs end; `None` if they do not.
    debug_until: Option<OffsetDateTime>,
    pub(crate) egress: Option<EgressPolicy>,
    /// The version of the configuration.
    pub(crate) version: String,
}

impl Generations {
    /// Creates the builder for the function with these settings. It does not connect yet.
    ///
    /// # Errors
    /// A setting is invalid.
    pub(crate) fn new(
        matches: ArgMatches,
        sources: Sources,
        settings: &HostedSettings,
    ) -> Result<Self, Failure> {
        Ok(Self { matches, sources, service: ConfigService::new(settings)?, runs: Arc::default() })
    }

    /// Builds the connector of the newest configuration.
    ///
    /// # Errors
    /// There is no configuration, or a setting in it is invalid.
    pub(crate) async fn first(&self) -> Result<Generation, Failure> {
        made(self.effective("").await?, &self.runs)
    }

    /// The settings of this version of the configuration, or of the newest one if `version` is empty.
    ///
    /// # Errors
    /// There is no configuration, or a setting in it is invalid.
    pub(crate) async fn effective(&self, version: &str) -> Result<Effective, Failure> {
        let Served { settings: served, version: is, is_another, egress } =
            self.service.config(version).await?;
        if is_another {
            tracing::warn!(
                asked = version,
                served = is,
                "ConductorOne served a different version of the configuration"
            );
        }
        self.overlaid(&served, is, egress)
    }

    fn overlaid(
        &self,
        served: &Map<String, Value>,
        version: String,
        egress: Option<EgressPolicy>,
    ) -> Result<Effective, Failure> {
        let (settings, warnings, debug_until) =
            config::load_served(&self.matches, &self.sources, served).map_err(Failure::usage)?;
        Ok(Effective { settings, warnings, debug_until, egress, version })
    }
}

impl Configurations for Generations {
    async fn generation(&self, version: &str) -> Result<Generation, String> {
        let made = async { made(self.effective(version).await?, &self.runs) };
        made.await.map_err(|failure: Failure| failure.message())
    }
}

fn made(effective: Effective, runs: &Arc<Runs>) -> Result<Generation, Failure> {
    let Effective { settings, warnings, debug_until, egress, version } = effective;
    // The level is set first, because building the connector writes log lines.
    let logs = DebugUntil { level: settings.logs.level, until: debug_until };
    logs.apply();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for InForce { name, value, origin } in settings.provenance.iter() {
        tracing::debug!(setting = name, %value, %origin, "effective setting");
    }
    let connection = connection(&settings)?;
    if let Some(policy) = &egress {
        egress::check(policy, &connection, &settings)?;
    }
    let connector = Arc::new(connector_to(connection, &settings)?.with_runs(Arc::clone(runs)));
    check_database_in_background(&connector);
    let calls = Server::new(connector.clone())
        .with_limits(settings.server.limits)
        .with_page_bytes(PAGE_BYTES)
        .awaiting_actions()
        .in_memory();
    Ok(Generation { version, connector, calls, logs })
}
