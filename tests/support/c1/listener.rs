//! The TLS port: HTTP/1.1 for the token endpoint, HTTP/2 for the API.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use http::Response;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::plan::SCRIPTED;
use super::{Shared, api, token};

/// Listens on a free port of this machine, with a certificate of an authority whose file is put into the folder.
pub(super) async fn listen(folder: &Path, shared: Arc<Shared>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls(folder)));
    let listening = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            if shared.lock().plan.away {
                continue;
            }
            let (acceptor, serving) = (acceptor.clone(), Arc::clone(&shared));
            let connection = tokio::spawn(async move {
                let shared = serving;
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = TowerToHyperService::new(routes(Arc::clone(&shared)));
                let stream = TokioIo::new(stream);
                // A client that goes away ends its connection with an error.
                if http2 {
                    shared.lock().connections += 1;
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(stream, service).await;
                } else {
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
                }
            });
            shared.lock().serving.push(connection.abort_handle());
        }
    });
    (address, listening)
}

fn routes(shared: Arc<Shared>) -> Router {
    let api = tonic::service::Routes::new(api::service(Arc::clone(&shared))).into_axum_router();
    let endpoint = Arc::clone(&shared);
    let router =
        api.route("/auth/v1/token", post(move |headers, body| token::answer(endpoint, headers, body)));
    // A request that breaks a rule of the protocol is refused before it reaches the API.
    let checked = router.into_service().map_response(move |answer: Response<axum::body::Body>| {
        let header =
            |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let message = header("grpc-message");
        if header("grpc-status") == "3" && !message.contains(&SCRIPTED.replace(' ', "%20")) {
            shared.fault(format!("a request breaks a rule: {message}"));
        }
        answer
    });
    Router::new().fallback_service(checked)
}

/// A certificate of an authority whose file is put into the folder.
pub(crate) fn tls(folder: &Path) -> ServerConfig {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "the stand-in's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join("authority.pem"), authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
