//! The TLS port: HTTP/1.1 for the token endpoint, HTTP/2 for the API.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use axum::Router;
use axum::routing::post;
use http::{HeaderValue, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS12;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::plan::{SCRIPTED, Tls};
use super::{Shared, api, token};

/// Listens on a free port of this machine. The certificate of its certificate authority is written to the
/// directory.
pub(super) async fn listen(folder: &Path, shared: Arc<Shared>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let trusted = Identity::new();
    fs::write(folder.join("authority.pem"), &trusted.authority).unwrap();
    let listening = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let tls = {
                let mut state = shared.lock();
                state.attempts += 1;
                if state.plan.away {
                    continue;
                }
                state.plan.tls
            };
            let serving = serve(stream, tls, trusted.clone(), Arc::clone(&shared));
            let connection = tokio::spawn(serving);
            shared.lock().serving.push(connection.abort_handle());
        }
    });
    (address, listening)
}

async fn serve(mut stream: TcpStream, tls: Tls, trusted: Identity, shared: Arc<Shared>) {
    // A client that disconnects ends its connection with an error.
    let Some(config) = config(tls, trusted) else { return drop(answer_in_old_tls(&mut stream).await) };
    let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = TowerToHyperService::new(routes(Arc::clone(&shared)));
    let stream = TokioIo::new(stream);
    if http2 {
        shared.lock().connections += 1;
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(stream, service).await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
    }
}

/// Answers the first message of a client like a server without TLS 1.2, and waits until the client
/// disconnects.
async fn answer_in_old_tls(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    let mut hello = vec![0; u16::from_be_bytes([head[3], head[4]]).into()];
    stream.read_exact(&mut hello).await?;
    // A record with one message: version, 32 random bytes, no session, a cipher suite, no compression.
    let mut answer = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    answer.extend([7; 32]);
    answer.extend([0, 0, 0x2f, 0]);
    stream.write_all(&answer).await?;
    stream.read_to_end(&mut hello).await.map(drop)
}

fn routes(shared: Arc<Shared>) -> Router {
    let api = tonic::service::Routes::new(api::service(Arc::clone(&shared))).into_axum_router();
    let endpoint = Arc::clone(&shared);
    let router =
        api.route("/auth/v1/token", post(move |headers, body| token::answer(endpoint, headers, body)));
    // A request that breaks a rule of the protocol is refused before it reaches the API.
    let checked = router.into_service().map_response(move |mut answer: Response<axum::body::Body>| {
        let header =
            |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let message = header("grpc-message");
        if header("grpc-status") == "3" && !message.contains(&SCRIPTED.replace(' ', "%20")) {
            shared.fault(format!("a request breaks a rule: {message}"));
        }
        let has_failed = answer.headers().contains_key("grpc-status");
        if has_failed && shared.lock().plan.malforms_failures {
            answer.headers_mut().insert("grpc-status-details-bin", HeaderValue::from_static("!"));
        }
        answer
    });
    Router::new().fallback_service(checked)
}

/// A certificate for this machine, its key, and its certificate authority, all in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    certificate: String,
    key: String,
    pub(crate) authority: String,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "the double's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned(), super::NAME.to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        Self { certificate: certificate.pem(), key: key.serialize_pem(), authority: authority.pem() }
    }
}

/// The TLS settings; `None` if rustls does not support the version.
pub(crate) fn config(tls: Tls, trusted: Identity) -> Option<ServerConfig> {
    let identity = if tls == Tls::Untrusted { Identity::new() } else { trusted };
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let versions: &[_] = match tls {
        Tls::Only11 => return None,
        Tls::Only12 => &[&TLS12],
        _ => rustls::ALL_VERSIONS,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let protocols: &[&[u8]] = match tls {
        Tls::WithoutAlpn => &[],
        Tls::OnlyHttp1 => &[b"http/1.1"],
        _ => &[b"h2", b"http/1.1"],
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Some(config)
}
