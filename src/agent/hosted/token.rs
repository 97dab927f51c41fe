//! The access token for the configuration service, bound to the key of this process.

use std::time::{Duration, SystemTime};

use http::{StatusCode, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::{Client, Response, Url, redirect, retry};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded;

use crate::agent::hosted::attestation::attestation;
use crate::agent::hosted::dpop::Proof;
use crate::agent::hosted::error::HostedError;
use crate::agent::hosted::process_key::ProcessKey;
use crate::agent::hosted::settings::Role;
use crate::agent::limited_body::{self, BodyError};
use crate::agent::service::{ApiHost, ClientId, ClientKey, SetupError};
use crate::jwt_crypto;

/// Timeout of one request.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// A token that expires sooner is not used anymore.
const MIN_LIFETIME: Duration = Duration::from_secs(20);
/// Maximum time that a token is used.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum size of a response, in bytes.
const LARGEST: usize = 64 * 1024;
/// Seconds before and after now in which the assertion of the client is valid.
const HOLDS: (i64, i64) = (60, 120);
/// The header with the nonce of the endpoint.
const NONCE: &str = "dpop-nonce";

/// Fetches tokens and keeps the newest one.
#[derive(Debug)]
pub(super) struct Tokens {
    client: Client,
    url: Url,
    /// The URL in proofs, with the port exactly as configured: `url` lacks the port 443.
    proof_url: String,
    id: ClientId,
    key: ClientKey,
    role: Role,
    /// Locked while a token is fetched.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    newest: Option<Token>,
    /// The nonce that the endpoint expects in proofs.
    nonce: Option<String>,
}

/// A token and its type.
#[derive(Clone)]
pub(super) struct Token {
    /// `DPoP` or `Bearer`.
    pub(super) kind: &'static str,
    pub(super) text: String,
    /// When it expires, by the monotonic clock and by the system clock. The monotonic clock can stop while
    /// the process is frozen, and the system clock can be changed, so the earlier of the two times counts.
    until: (Instant, SystemTime),
}

impl Token {
    fn lasts(&self, time: Duration) -> bool {
        self.until.0 > Instant::now() + time && self.until.1 > SystemTime::now() + time
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The claims of the client's assertion.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    id_att: String,
}

/// A successful response. Other keys are ignored.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    expires_in: i64,
}

/// The response to a rejected request.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// The result of one request.
enum Answered {
    Token(Token),
    /// The endpoint requires a proof with this nonce.
    Challenge(String),
}

impl Tokens {
    /// Creates a token source for this client at the endpoint at `host`. Nothing is connected yet.
    ///
    /// # Errors
    /// [`HostedError::Setup`]
    pub(super) fn new(
        host: &ApiHost,
        id: ClientId,
        key: ClientKey,
        role: Role,
        tls: ClientConfig,
        user_agent: &str,
    ) -> Result<Self, HostedError> {
        let proof_url = format!("https://{host}/auth/v1/token");
        let url = Url::parse(&proof_url).map_err(|_| SetupError::Name(host.to_string()))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(user_agent)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .timeout(MAX_WAIT)
            .build()
            .map_err(|error| SetupError::Client(reason(error)))?;
        Ok(Self { client, url, proof_url, id, key, role, state: Mutex::default() })
    }

    /// Returns a token for a call now.
    ///
    /// # Errors
    /// [`HostedError`]
    pub(super) async fn token(&self, process: &ProcessKey) -> Result<Token, HostedError> {
        let mut state = self.state.lock().await;
        if let Some(token) = state.newest.as_ref().filter(|token| token.lasts(MIN_LIFETIME)) {
            return Ok(token.clone());
        }
        let token = match self.fetch(process, state.nonce.as_deref()).await? {
            Answered::Token(token) => token,
            Answered::Challenge(nonce) => {
                let nonce = state.nonce.insert(nonce);
                match self.fetch(process, Some(nonce.as_str())).await? {
                    Answered::Token(token) => token,
                    Answered::Challenge(_) => return Err(self.no_token("a second use_dpop_nonce")),
                }
            }
        };
        state.newest = Some(token.clone());
        Ok(token)
    }

    /// Drops the newest token, which was rejected.
    pub(super) async fn forget(&self) {
        self.state.lock().await.newest = None;
    }

    async fn fetch(&self, process: &ProcessKey, nonce: Option<&str>) -> Result<Answered, HostedError> {
        let begun = (Instant::now(), SystemTime::now());
        let now = OffsetDateTime::from(begun.1);
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_assertion", &self.assertion(now)?)
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_id", self.id.as_str())
            .append_pair("grant_type", "client_credentials")
            .finish();
        let proof = self.proof(process, nonce, now)?;
        let answer = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("DPoP", proof)
            .body(body)
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let challenge = answer.headers().get(NONCE).and_then(|nonce| nonce.to_str().ok()).map(str::to_owned);
        let body = self.body(answer).await?;
        if status == StatusCode::OK {
            return Ok(Answered::Token(self.read(&body, begun)?));
        }
        let error = serde_json::from_slice(&body).ok().map(|Refusal { error }| error);
        if status == StatusCode::BAD_REQUEST && error.as_deref() == Some("use_dpop_nonce") {
            let missing = || self.no_token("use_dpop_nonce without the header DPoP-Nonce");
            return challenge.filter(|nonce| !nonce.is_empty()).map(Answered::Challenge).ok_or_else(missing);
        }
        let error = error.filter(|error| {
            error.len() <= 40 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        });
        Err(HostedError::Refused { url: self.url.to_string(), status: status.as_u16(), error })
    }

    /// The proof that the request comes from this process.
    fn proof(
        &self,
        process: &ProcessKey,
        nonce: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<String, HostedError> {
        Proof { url: &self.proof_url, nonce, token: None }.signed(process, now)
    }

    /// The assertion that proves the client's identity and its AWS role.
    fn assertion(&self, now: OffsetDateTime) -> Result<String, HostedError> {
        jwt_crypto::install();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = None;
        header.kid = self.key.id().map(str::to_owned);
        let seconds = now.unix_timestamp();
        let claims = Claims {
            iss: self.id.as_str(),
            sub: self.id.as_str(),
            aud: self.url.host_str().unwrap_or_default(),
            iat: seconds,
            nbf: seconds - HOLDS.0,
            exp: seconds + HOLDS.1,
            id_att: attestation(&self.role, SystemTime::from(now))?,
        };
        encode(&header, &claims, &EncodingKey::from_ed_der(self.key.pair()))
            .map_err(|error| HostedError::Key(error.to_string()))
    }

    async fn body(&self, answer: Response) -> Result<Vec<u8>, HostedError> {
        limited_body::read(answer, LARGEST).await.map_err(|error| match error {
            BodyError::Connection(error) => self.unreachable(error),
            BodyError::TooLong => self.no_token("more than 64 KiB"),
        })
    }

    fn read(&self, body: &[u8], begun: (Instant, SystemTime)) -> Result<Token, HostedError> {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_| self.no_token("an invalid JSON response"))?;
        let kind = match answer.token_type.to_ascii_lowercase().as_str() {
            "dpop" => "DPoP",
            "bearer" => "Bearer",
            _ => return Err(self.no_token("a token of an unknown type")),
        };
        if answer.access_token.is_empty() {
            return Err(self.no_token("an empty token"));
        }
        let life = Duration::from_secs(u64::try_from(answer.expires_in).unwrap_or(0)).min(LONGEST_LIFE);
        Ok(Token { kind, text: answer.access_token, until: (begun.0 + life, begun.1 + life) })
    }

    fn no_token(&self, problem: &'static str) -> HostedError {
        HostedError::NoToken { url: self.url.to_string(), problem }
    }

    fn unreachable(&self, error: reqwest::Error) -> HostedError {
        HostedError::Unreachable { url: self.url.to_string(), problem: reason(error) }
    }
}

/// An error and its causes, without the URL.
pub(super) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    use super::*;
    use crate::agent::service::tls_with;

    fn key() -> ClientKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let half = |half: &[u8]| URL_SAFE_NO_PAD.encode(half);
        let (private, public) = (half(&[7; 32]), half(pair.public_key().as_ref()));
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": public, "d": private });
        ClientKey::parse(&format!("a:b:v1:{}", half(jwk.to_string().as_bytes())).into()).unwrap()
    }

    fn claim(token: &str, name: &str) -> Value {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap()[name].clone()
    }

    #[test]
    fn a_proof_has_the_port_as_configured_and_the_audience_has_none() {
        let role = Role {
            access_key_id: Some("AKIDEXAMPLE".to_owned()),
            secret_access_key: Some("k".into()),
            session_token: None,
            region: Some("eu-west-1".to_owned()),
        };
        let process = ProcessKey::of_seed([7; 32]).unwrap();
        let now = OffsetDateTime::now_utc();
        for host in ["c1.example.com", "c1.example.com:443", "c1.example.com:8443"] {
            let host = ApiHost::parse(host).unwrap();
            let id = ClientId::parse("name@c1.example.com/lambda").unwrap();
            let tls = tls_with(Vec::new()).unwrap();
            let tokens = Tokens::new(&host, id, key(), role.clone(), tls, "agent").unwrap();
            let proof = tokens.proof(&process, None, now).unwrap();
            assert_eq!(claim(&proof, "htu"), format!("https://{host}/auth/v1/token"));
            let assertion = tokens.assertion(now).unwrap();
            assert_eq!(claim(&assertion, "aud"), "c1.example.com");
        }
    }
}
