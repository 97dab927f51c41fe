//! The client of the service that provides the configuration of hosted connectors.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tower::service_fn;

use crate::agent::hosted::dpop::Proof;
use crate::agent::hosted::egress::EgressPolicy;
use crate::agent::hosted::error::HostedError;
use crate::agent::hosted::process_key::ProcessKey;
use crate::agent::hosted::settings::{FromEnvironment, HostedSettings};
use crate::agent::hosted::token::Tokens;
use crate::agent::service::{ApiHost, ClientId, ClientKey, Dialer, SetupError, innermost, tls_with};
use crate::operator_file;
use crate::proto::connectorapi::connector_config_service_client::ConnectorConfigServiceClient;
use crate::proto::connectorapi::{GetConnectorConfigRequest, GetConnectorConfigResponse};
use crate::tls_roots;

/// Timeout of a call, including the request for a token.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The version of the Go SDK whose protocol is used.
const SDK: &str = "v0.25.0";
/// The path of the call, which its proof contains.
const PATH: &str = "/c1.connectorapi.baton.v1.ConnectorConfigService/GetConnectorConfig";
/// Maximum number of keys in a configuration. Each can lead to a line in the log.
const MAX_KEYS: usize = 1000;

/// The client of the configuration service.
#[derive(Debug)]
pub(crate) struct ConfigService {
    client: ConnectorConfigServiceClient<Channel>,
    tokens: Tokens,
    process: ProcessKey,
    /// The host as configured, which proofs contain.
    host: ApiHost,
}

/// A configuration.
pub(crate) struct Served {
    /// The settings. They may hold secrets.
    pub(crate) settings: Map<String, Value>,
    /// Its version; empty if the service does not return one.
    pub(crate) version: String,
    /// Whether it is another version than the requested one.
    pub(crate) is_another: bool,
    /// The allowed destinations of the connector; `None` without a policy.
    pub(crate) egress: Option<EgressPolicy>,
}

impl ConfigService {
    /// Creates a client with a new key. Nothing is connected yet.
    ///
    /// # Errors
    /// [`HostedError`] for a malformed setting or variable.
    pub(crate) fn new(settings: &HostedSettings) -> Result<Self, HostedError> {
        let environment = &settings.environment;
        let id = ClientId::parse(&settings.client_id).map_err(HostedError::Credentials)?;
        let key = ClientKey::parse(&settings.client_secret).map_err(HostedError::Credentials)?;
        let host = |variable, text: &str| {
            ApiHost::parse(text).map_err(|source| HostedError::Host { variable, source })
        };
        let token_host = match &environment.token_host {
            Some(text) => host(FromEnvironment::TOKEN_HOST, text)?,
            None => id.host().clone(),
        };
        let configuration_host = match &environment.configuration_host {
            Some(text) => host(FromEnvironment::CONFIGURATION_HOST, text)?,
            None => token_host.clone(),
        };
        environment.role.whole()?;
        let tls = tls_with(authorities(environment)?)?;
        let user_agent = user_agent(&id);
        let tokens = Tokens::new(&token_host, id, key, environment.role.clone(), tls.clone(), &user_agent)?;
        let dialer = Dialer::with_tls(configuration_host.clone(), tls)?;
        let client = ConnectorConfigServiceClient::new(channel(&configuration_host, dialer, &user_agent)?);
        Ok(Self { client, tokens, process: ProcessKey::generate()?, host: configuration_host })
    }

    /// Returns the configuration of this version, or the newest one if `version` is empty.
    ///
    /// # Errors
    /// [`HostedError`]
    pub(crate) async fn config(&self, version: &str) -> Result<Served, HostedError> {
        let answer = timeout(MAX_WAIT, self.call_twice(version))
            .await
            .map_err(|_| HostedError::Silent(MAX_WAIT.as_secs()))??;
        let plain = self.process.open(&answer.config)?;
        let settings = match serde_json::from_slice(&plain) {
            Ok(Value::Object(settings)) if settings.len() > MAX_KEYS => {
                return Err(HostedError::Config("has more than 1000 keys"));
            }
            Ok(Value::Object(settings)) => settings,
            Ok(_) => return Err(HostedError::Config("is not a JSON object")),
            Err(_) => return Err(HostedError::Config("is not JSON")),
        };
        let served_version = answer.config_version.as_deref();
        let egress = answer
            .served_policy_envelope
            .as_ref()
            .map(|envelope| EgressPolicy::of(envelope, served_version.unwrap_or_default()));
        let is_another = !version.is_empty()
            && served_version.is_some_and(|served| !served.is_empty() && served != version);
        Ok(Served { settings, version: label(&answer, version), is_another, egress })
    }

    /// Repeats a call once if its token was rejected or its connection was dead: both can expire while the
    /// process is frozen.
    async fn call_twice(&self, version: &str) -> Result<GetConnectorConfigResponse, HostedError> {
        match self.call(version).await {
            Err(error) if error.is_stale() => {
                tracing::info!(%error, "requesting the configuration again");
                self.call(version).await
            }
            answer => answer,
        }
    }

    async fn call(&self, version: &str) -> Result<GetConnectorConfigResponse, HostedError> {
        let token = self.tokens.token(&self.process).await?;
        let url = format!("https://{}{PATH}", self.host);
        let proof = Proof { url: &url, nonce: None, token: Some(&token.text) };
        let proof = proof.signed(&self.process, OffsetDateTime::now_utc())?;
        let mut request = Request::new(GetConnectorConfigRequest { requested_version: version.to_owned() });
        let metadata = request.metadata_mut();
        metadata.insert("authorization", secret(format!("{} {}", token.kind, token.text))?);
        metadata.insert("dpop", secret(proof)?);
        let mut client = self.client.clone();
        // tonic panics on a malformed detail of a status.
        let answer = AssertUnwindSafe(client.get_connector_config(request)).catch_unwind().await;
        let malformed = |_| HostedError::ServiceUnreachable("the response has a malformed status".to_owned());
        match answer.map_err(malformed)? {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => {
                if status.code() == Code::Unauthenticated {
                    self.tokens.forget().await;
                }
                Err(of_status(status))
            }
        }
    }
}

/// The version that identifies the configuration.
fn label(answer: &GetConnectorConfigResponse, requested: &str) -> String {
    match (&answer.config_version, requested) {
        (Some(version), "") => version.clone(),
        (Some(version), _) if !version.is_empty() => version.clone(),
        (_, "") => answer
            .last_updated
            .as_ref()
            .and_then(|updated| {
                let nanoseconds = i128::from(updated.seconds) * 1_000_000_000 + i128::from(updated.nanos);
                OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?.format(&Rfc3339).ok()
            })
            .unwrap_or_default(),
        (_, requested) => requested.to_owned(),
    }
}

fn authorities(
    environment: &FromEnvironment,
) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, HostedError> {
    let Some(path) = &environment.authorities else { return Ok(Vec::new()) };
    let wrong = |problem: String| HostedError::Authorities { path: path.clone(), problem };
    let text = operator_file::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    tls_roots::from_pem(&text).map_err(|error| wrong(format!("has no usable certificate: {error}")))
}

fn channel(host: &ApiHost, dialer: Dialer, user_agent: &str) -> Result<Channel, SetupError> {
    let failed = |error: &dyn std::fmt::Display| SetupError::Client(error.to_string());
    let authority = host.authority();
    let origin = format!("https://{authority}").parse().map_err(|error| failed(&error))?;
    // The dialer handles TLS; tonic sees a plain connection.
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))
        .and_then(|endpoint| endpoint.user_agent(user_agent.to_owned()))
        .map_err(|error| failed(&error))?
        .origin(origin);
    let dialer = Arc::new(dialer);
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |_| {
        let dialer = Arc::clone(&dialer);
        async move { dialer.dial().await.map(TokioIo::new) }
    })))
}

fn user_agent(id: &ClientId) -> String {
    let visible = |letter: char| if letter.is_ascii_graphic() { letter } else { '_' };
    let id: String = id.as_str().chars().map(visible).collect();
    format!("baton-lambda/{id} {SDK}")
}

fn secret(text: String) -> Result<MetadataValue<Ascii>, HostedError> {
    let mut value = MetadataValue::try_from(text).map_err(|_| {
        HostedError::Config("cannot be requested: the token has characters that are not allowed in a header")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn of_status(status: tonic::Status) -> HostedError {
    // Only a failure of the connection has a cause in this process.
    match std::error::Error::source(&status) {
        Some(cause) => HostedError::ServiceUnreachable(innermost(cause)),
        None => HostedError::Service(Box::new(status)),
    }
}
