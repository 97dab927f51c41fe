//! Checks ConductorOne if a client is configured: from the form of the credentials to an access token. The
//! program does not register itself and takes no tasks.

use clap::ArgMatches;

use crate::agent::service::{
    ClientId, ClientKey, DialError, Dialer, ServiceError, ServiceSettings, TokenError, Tokens, api_host,
};
use crate::cli::doctor::report::{Check, Line};
use crate::config::{self, Sources};

/// Checks that ConductorOne accepts this client.
pub(super) async fn check(matches: &ArgMatches, sources: &Sources) -> Line {
    let settings = match config::load_service(matches, sources) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            return Line::skipped(Check::C1, "BATON_CLIENT_ID and BATON_CLIENT_SECRET are not set");
        }
        Err(error) => return Line::failed(Check::C1, error.to_string()),
    };
    match parts(&settings) {
        Ok((name, dialer, tokens)) => connect(&name, &dialer, &tokens).await,
        Err(error) => Line::failed(Check::C1, error.to_string()).means("Service mode cannot start."),
    }
}

fn parts(settings: &ServiceSettings) -> Result<(String, Dialer, Tokens), ServiceError> {
    let id = ClientId::parse(&settings.client_id)?;
    let key = ClientKey::parse(&settings.client_secret)?;
    let host = api_host(settings, &id)?;
    let name = format!("{} at {host}", id.name());
    let dialer = Dialer::new(host.clone())?;
    let tokens = Tokens::new(&host, id, key, dialer.proxy(), settings.timeout)?;
    Ok((name, dialer, tokens))
}

async fn connect(name: &str, dialer: &Dialer, tokens: &Tokens) -> Line {
    if let Err(problem) = dialer.dial().await {
        return unreachable(&problem);
    }
    let through = dialer.proxy().map(|proxy| format!(", through the proxy {proxy}")).unwrap_or_default();
    match tokens.authorization().await {
        Ok(_) => Line::ok(
            Check::C1,
            format!("the certificate is valid, and {name} received an access token{through}"),
        ),
        Err(problem) => without_token(&problem),
    }
}

fn unreachable(problem: &DialError) -> Line {
    let line = Line::failed(Check::C1, problem.to_string());
    match problem {
        DialError::Resolve { .. } => line
            .means("The host is wrong, or this machine's name server cannot resolve it.")
            .fix("copy BATON_CLIENT_ID again from ConductorOne's page of the connector, or correct BATON_C1_API_HOST"),
        DialError::Connect { .. } | DialError::Silent { .. } => line
            .means("A firewall or a NetworkPolicy blocks the connection, or it needs a proxy.")
            .fix("allow this machine to reach that port, or set HTTPS_PROXY to the proxy"),
        DialError::Proxy { .. } | DialError::ProxyName(_) => {
            line.fix("correct HTTPS_PROXY, or exclude this host with NO_PROXY")
        }
        DialError::Certificate { .. } => {
            line.means("A proxy inspects TLS, or this machine lacks the certificate authorities.")
        }
        DialError::Tls { .. } | DialError::OldTls(_) | DialError::NotHttp2(_) => {
            line.means("Something other than ConductorOne's API answers, such as a proxy.")
        }
    }
}

fn without_token(problem: &TokenError) -> Line {
    let line = Line::failed(Check::C1, problem.to_string());
    if problem.is_the_clock() {
        line.means("ConductorOne accepts a proof of identity for two minutes only.")
            .fix("correct this machine's clock, for example with NTP")
    } else if problem.is_temporary() {
        line.means("Service mode retries automatically.").fix("run this again in a minute")
    } else {
        line.means("Service mode cannot start.")
    }
}
