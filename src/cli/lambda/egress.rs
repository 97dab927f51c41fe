//! Checks the hosts in the settings against the egress policy.

use anyhow::anyhow;
use url::Url;

use crate::agent::hosted::{EgressPolicy, Verdict};
use crate::cli::failure::Failure;
use crate::config::Settings;
use crate::postgres::connection_string::{Address, ConnectionSettings, Host};

/// Checks every host that the connector connects to. Unix sockets are not checked.
///
/// # Errors
/// The first host that the policy refuses.
pub(super) fn check(
    policy: &EgressPolicy,
    connection: &ConnectionSettings,
    settings: &Settings,
) -> Result<(), Failure> {
    check_database(policy, connection)?;
    check_api(policy, settings)
}

/// Checks the hosts of the database.
///
/// # Errors
/// The first host that the policy refuses.
pub(crate) fn check_database(policy: &EgressPolicy, connection: &ConnectionSettings) -> Result<(), Failure> {
    for (host, verdict) in connection.hosts.iter().filter_map(|host| verdict_on(policy, host)) {
        enforce(verdict, &host, "connection-string")?;
    }
    Ok(())
}

/// Checks the host of Retool's REST API.
///
/// # Errors
/// The policy refuses it.
pub(crate) fn check_api(policy: &EgressPolicy, settings: &Settings) -> Result<(), Failure> {
    let url = settings.rest.as_ref().and_then(|rest| Url::parse(rest.base_url.as_str()).ok());
    if let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host_str()?))) {
        let tls = url.scheme() == "https";
        let host_as_shown = format!("{}://{host}", url.scheme());
        enforce(policy.http(host, tls), &host_as_shown, "retool-api-base-url")?;
    }
    Ok(())
}

/// The host of a connection to the database, and the verdict on it; `None` for a Unix socket.
fn verdict_on(policy: &EgressPolicy, host: &Host) -> Option<(String, Verdict)> {
    let Address::Tcp { name, address } = &host.address else { return None };
    // The client connects to `hostaddr`, not to the name next to it.
    let host = address.map_or_else(|| name.clone(), |address| address.to_string());
    let verdict = policy.connection(&host);
    Some((host, verdict))
}

fn enforce(verdict: Verdict, host: &str, setting: &str) -> Result<(), Failure> {
    match verdict {
        Verdict::Allowed => Ok(()),
        Verdict::Reported => {
            tracing::warn!(
                host,
                setting,
                "ConductorOne's egress policy does not allow this host; it is not enforced"
            );
            Ok(())
        }
        Verdict::Refused => Err(Failure::Run(anyhow!(
            "{setting}: ConductorOne's egress policy does not allow connections to {host}; allow the host for this connector in ConductorOne, or change {setting}"
        ))),
    }
}
