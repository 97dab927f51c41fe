//! Addresses that are reachable from other machines, and reflection.

use tonic::Code;

use super::{Files, HEALTH, TOKENS, assert_ends, refused, start};
use crate::support::parent::Pki;
use crate::support::server::Server;
use crate::support::wire::{Wire, assert_refused};

#[test]
fn plaintext_on_a_public_address_is_refused_with_the_alternatives() {
    let files = Files::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        for flags in [vec![], vec![files.tokens(&TOKENS)]] {
            let output = refused(&[vec![format!("--listen={address}")], flags].concat());
            assert_ends(&output, 2, &[address, "--tls-cert", "--tls-key", "unix socket", "--insecure"]);
        }
    }
}

#[tokio::test]
async fn allowed_plaintext_on_a_public_address_is_warned_about() {
    let server = start(&["--listen=0.0.0.0:0", "--insecure"]);
    let warnings: Vec<_> = server.logs().into_iter().filter(|line| line["level"] == "warn").collect();
    let said = |word: &str| warnings.iter().any(|line| line["msg"].as_str().unwrap().contains(word));
    assert!(said("unencrypted") && said("--auth-token-file"), "{warnings:?}");
    let port = server.address().port();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    assert!(Wire::over(endpoint.connect().await.unwrap()).metadata().await.is_ok());
}

#[tokio::test]
async fn tls_on_a_public_address_without_client_authentication_is_warned_about() {
    let (files, pki) = (Files::new(), Pki::new());
    let [certificate, key] = files.certificate(&pki.sign("server"));
    let flags = [certificate, key, "--listen=0.0.0.0:0".to_owned()];
    let warned =
        |server: &Server| server.logs().iter().any(|line| line.to_string().contains("--tls-client-ca"));
    assert!(warned(&start(&flags)));
    assert!(!warned(&start(&[flags.as_slice(), &[files.tokens(&TOKENS)]].concat())));
}

#[tokio::test]
async fn reflection_can_be_switched_off() {
    let server = start(&["--reflection=false"]);
    let wire = Wire::to(&server).await;
    for version in ["v1", "v1alpha"] {
        let path = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        assert_refused(wire.raw(&path, vec![]).await, Code::Unimplemented, &[]);
    }
    assert!(wire.metadata().await.is_ok());
    assert!(wire.raw(HEALTH, vec![]).await.is_ok());
}
