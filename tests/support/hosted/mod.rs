//! Doubles for a hosted connector: ConductorOne's token endpoint and configuration service, Lambda's Runtime
//! API, and a caller with signed tokens.

pub(crate) mod bridge;
pub(crate) mod caller;
mod config_service;
pub(crate) mod runtime;
pub(crate) mod stage;
mod token;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use baton_retool::proto::connectorapi::ServedPolicyEnvelope;
use http::HeaderValue;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::c1::Tls;
use super::c1::listener::{Identity, config};

/// ConductorOne as a hosted connector uses it; stopped when dropped. It checks all requests.
pub(crate) struct Hosted {
    address: SocketAddr,
    folder: TempDir,
    /// The private key of the client.
    seed: [u8; 32],
    secret: String,
    shared: Arc<Shared>,
    listening: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    client_id: String,
    /// The public key of the client.
    client_key: Vec<u8>,
    /// The id of that key.
    client_key_id: Option<String>,
    address: String,
    /// The host of the configuration service in proofs.
    configuration_host: String,
    /// The document at `/jwks`.
    jwks: String,
    plan: Plan,
    /// The keys of received proofs.
    proofs: Vec<String>,
    /// The issued tokens.
    tokens: Vec<String>,
    token_requests: usize,
    configs: BTreeMap<String, Config>,
    newest: String,
    /// The requested versions.
    asked: Vec<String>,
    faults: Vec<String>,
}

/// The behavior of the double.
pub(crate) struct Plan {
    /// The nonce that the token endpoint requires in proofs.
    pub(crate) nonce: Option<String>,
    /// Answers instead of a token, for the next requests: status, nonce, body.
    pub(crate) answers: VecDeque<(u16, Option<&'static str>, &'static str)>,
    pub(crate) token_type: &'static str,
    pub(crate) token_life: Option<i64>,
    /// Whether the configuration service does not answer.
    pub(crate) silent: bool,
    /// The failures of the next calls of the configuration service.
    pub(crate) failures: VecDeque<Failure>,
}

/// A failure of the configuration service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The token is rejected.
    Rejected,
    /// The status has details that are not valid.
    Malformed,
}

/// One version of a configuration.
#[derive(Clone, Default)]
pub(crate) struct Config {
    pub(crate) settings: Value,
    /// The version in the answer.
    pub(crate) version: Option<String>,
    pub(crate) policy: Option<ServedPolicyEnvelope>,
    /// The answer instead of an encrypted configuration.
    pub(crate) sealed: Option<Vec<u8>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            nonce: Some("nonce-1".to_owned()),
            answers: VecDeque::new(),
            token_type: "DPoP",
            token_life: Some(3600),
            silent: false,
            failures: VecDeque::new(),
        }
    }
}

impl Config {
    /// A configuration with this version.
    pub(crate) fn of(version: &str, settings: Value) -> Self {
        Self { settings, version: Some(version.to_owned()), ..Self::default() }
    }
}

impl Hosted {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::new();
        fs::write(folder.path().join("authority.pem"), &identity.authority).unwrap();
        let tls = config(Tls::Usual, identity).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seed: [u8; 32] = rand::random();
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.lock();
            state.client_id = format!("tall-tree-1@{address}/lambda");
            state.client_key = public_half(&seed);
            state.address = address.to_string();
            state.configuration_host = address.to_string();
        }
        let routes = routes(&shared);
        let listening = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(routes.clone()));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let stream = TokioIo::new(stream);
                    // A client that disconnects ends its connection with an error.
                    if http2 {
                        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = server.serve_connection(stream, service).await;
                    } else {
                        let server = hyper::server::conn::http1::Builder::new();
                        let _ = server.serve_connection(stream, service).await;
                    }
                });
            }
        });
        Self { address, folder, seed, secret: secret(&seed, None), shared, listening }
    }

    /// Gives the key of the client an id, which its assertions must name.
    pub(crate) fn name_key(&mut self, id: &str) {
        self.secret = secret(&self.seed, Some(id));
        self.shared.lock().client_key_id = Some(id.to_owned());
    }

    /// Puts a host without a server into the client id, so that only variables lead to the double. Proofs for the
    /// configuration service must contain this host of it.
    pub(crate) fn hide(&self, configuration_host: &str) {
        let mut state = self.shared.lock();
        state.client_id = "tall-tree-1@127.0.0.1:1/lambda".to_owned();
        state.configuration_host = configuration_host.to_owned();
    }

    /// Publishes these keys of callers at `/jwks`.
    pub(crate) fn publish(&self, document: &Value) {
        self.shared.lock().jwks = document.to_string();
    }

    pub(crate) fn client_id(&self) -> String {
        self.shared.lock().client_id.clone()
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate authority of the double.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Changes the behavior of the double from now on.
    pub(crate) fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.shared.lock().plan);
    }

    /// Serves this configuration from now on as the newest one and under this version.
    pub(crate) fn serve(&self, version: &str, config: Config) {
        self.shared.lock().newest = version.to_owned();
        self.add(version, config);
    }

    /// Serves this configuration from now on under this version.
    pub(crate) fn add(&self, version: &str, config: Config) {
        self.shared.lock().configs.insert(version.to_owned(), config);
    }

    /// The versions requested so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.lock().asked.clone()
    }

    /// How many token requests there were.
    pub(crate) fn token_requests(&self) -> usize {
        self.shared.lock().token_requests
    }

    /// Asserts that all requests to the double were valid.
    #[track_caller]
    pub(crate) fn assert_no_faults(&self) {
        assert_eq!(self.shared.lock().faults, Vec::<String>::new());
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.listening.abort();
        if !std::thread::panicking() {
            self.assert_no_faults();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

fn routes(shared: &Arc<Shared>) -> Router {
    let (endpoint, keys) = (Arc::clone(shared), Arc::clone(shared));
    tonic::service::Routes::new(config_service::service(Arc::clone(shared)))
        .into_axum_router()
        .route("/auth/v1/token", post(move |headers, body| token::answer(endpoint, headers, body)))
        .route("/jwks", get(move || std::future::ready(keys.lock().jwks.clone())))
        .layer(map_response(malformed))
}

/// Malforms the details of a status that requests it.
async fn malformed(mut answer: Response) -> Response {
    if answer.headers_mut().remove(config_service::MALFORMED).is_some() {
        answer.headers_mut().insert("grpc-status-details-bin", HeaderValue::from_static("!"));
    }
    answer
}

/// The secret of a client with this private key.
fn secret(seed: &[u8], id: Option<&str>) -> String {
    let public = public_half(seed);
    let mut key = json!({
        "kty": "OKP", "crv": "Ed25519",
        "x": URL_SAFE_NO_PAD.encode(public), "d": URL_SAFE_NO_PAD.encode(seed),
    });
    if let Some(id) = id {
        key["kid"] = id.into();
    }
    format!("secret-token:conductorone.com:v1:{}", URL_SAFE_NO_PAD.encode(key.to_string()))
}

fn public_half(seed: &[u8]) -> Vec<u8> {
    Ed25519KeyPair::from_seed_unchecked(seed).unwrap().public_key().as_ref().to_vec()
}

/// The header and claims of a signed token.
///
/// # Errors
/// The fault of the token.
fn verified(token: &str, key: &[u8]) -> Result<(Value, Value), String> {
    let parts: Vec<&str> = token.split('.').collect();
    let &[header, claims, signature] = &parts[..] else { return Err("no JWT".to_owned()) };
    UnparsedPublicKey::new(&ED25519, key)
        .verify(format!("{header}.{claims}").as_bytes(), &decoded(signature)?)
        .map_err(|_| "the signature is not good".to_owned())?;
    let json = |part| serde_json::from_slice(&decoded(part)?).map_err(|error| error.to_string());
    Ok((json(header)?, json(claims)?))
}

/// A configuration encrypted for another process.
pub(crate) fn sealed_for_another(settings: &Value) -> Vec<u8> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    config_service::encrypt(pair.public_key().as_ref(), settings.to_string().as_bytes())
}

/// The public key in a proof.
fn key_of(proof: &str) -> Result<Vec<u8>, String> {
    let header = decoded(proof.split('.').next().unwrap_or_default())?;
    let header: Value = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    decoded(header["jwk"]["x"].as_str().unwrap_or_default())
}

/// Checks a proof. Its claims must be those of every proof and the claims in `more`.
fn check_proof(state: &mut State, proof: &str, url: &str, more: &Value) -> Result<Vec<u8>, String> {
    let key = key_of(proof)?;
    let (header, mut claims) = verified(proof, &key)?;
    let jwk = json!({
        "use": "sig", "kty": "OKP", "kid": "key", "crv": "Ed25519", "alg": "EdDSA",
        "x": URL_SAFE_NO_PAD.encode(&key),
    });
    same("header", &header, &json!({ "alg": "EdDSA", "typ": "dpop+jwt", "jwk": jwk }))?;
    let id = claims["jti"].as_str().unwrap_or_default().to_owned();
    if id.len() != 36 || state.proofs.contains(&id) {
        return Err(format!("the id {id:?} is none, or not new"));
    }
    state.proofs.push(id);
    claims.as_object_mut().unwrap().remove("jti");
    let at = claims["iat"].as_i64().unwrap_or_default();
    check_now(at)?;
    let mut expected = json!({ "iat": at, "nbf": at - 30, "exp": at + 300, "htm": "POST", "htu": url });
    for (name, value) in more.as_object().unwrap() {
        expected[name] = value.clone();
    }
    same("claims", &claims, &expected)?;
    Ok(key)
}

fn check_now(seconds: i64) -> Result<(), String> {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    if (now - seconds).abs() > 60 { Err("it was not issued now".to_owned()) } else { Ok(()) }
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string())
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} in place of {expected:?}")) }
}
