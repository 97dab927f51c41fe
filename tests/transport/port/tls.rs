//! TLS: certificates, versions, rotation, and unusable files.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use super::{Files, Traffic, assert_ends, refused, start, trusting};
use crate::support::handshake::{Hello, refuses_tls_1_1, shown_certificate};
use crate::support::parent::Pki;
use crate::support::wire::Wire;

#[tokio::test]
async fn mutual_tls_accepts_only_certificates_of_the_configured_certificate_authority() {
    let (files, pki, stranger) = (Files::new(), Pki::new(), Pki::new());
    let [certificate, key] = files.certificate(&pki.sign("server"));
    let authority = format!("--tls-client-ca={}", files.put("ca.crt", &pki.ca_pem));
    let server = start(&[certificate, key, authority]);
    let expired = pki.sign_with("client", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let future = pki.sign_with("client", |params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    for (name, tls, opens) in [
        ("one of the certificate authority", trusting(&pki).identity(pki.sign("client").identity()), true),
        ("none", trusting(&pki), false),
        (
            "one of another certificate authority",
            trusting(&pki).identity(stranger.sign("client").identity()),
            false,
        ),
        ("an expired one", trusting(&pki).identity(expired.identity()), false),
        ("one of the future", trusting(&pki).identity(future.identity()), false),
        (
            "a client that trusts another certificate authority",
            trusting(&stranger).identity(pki.sign("client").identity()),
            false,
        ),
        (
            "a client that wants another name",
            trusting(&pki).identity(pki.sign("client").identity()).domain_name("localhost"),
            false,
        ),
    ] {
        // With TLS 1.3, a client notices the refusal only when it sends a request.
        let answered = match server.secure_channel(tls).await {
            Ok(channel) => Wire::over(channel).metadata().await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(answered, opens, "{name}");
    }
}

#[tokio::test]
async fn a_tls_port_accepts_clients_without_a_certificate_and_refuses_plaintext() {
    let (files, pki) = (Files::new(), Pki::new());
    let server = start(&files.certificate(&pki.sign("server")));
    assert!(Wire::over(server.secure_channel(trusting(&pki)).await.unwrap()).metadata().await.is_ok());
    let plain = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
    let answer = match plain.connect().await {
        Ok(channel) => Wire::over(channel).metadata().await.is_ok(),
        Err(_) => false,
    };
    assert!(!answer);
}

#[tokio::test]
async fn a_failed_handshake_is_logged_with_the_address_of_the_client() {
    let (files, pki) = (Files::new(), Pki::new());
    let server = start(&files.certificate(&pki.sign("server")));
    let mut client = TcpStream::connect(server.address()).unwrap();
    client.write_all(b"not TLS").unwrap();
    let line = server.wait_for_log(|line| line["msg"] == "a TLS handshake failed");
    assert_eq!(line["peer.address"], client.local_addr().unwrap().to_string(), "{line}");
    assert!(line.get("left_out").is_none(), "{line}");
}

#[tokio::test]
async fn tls_1_2_and_1_3_with_alpn_h2_are_accepted_from_clients() {
    let (files, pki) = (Files::new(), Pki::new());
    let server = start(&files.certificate(&pki.sign("server")));
    let to = server.address();
    let usual = || Hello::usual(&pki, None);
    assert!(Hello { versions: &[&rustls::version::TLS13], ..usual() }.is_answered(to).await);
    assert!(Hello { versions: &[&rustls::version::TLS12], ..usual() }.is_answered(to).await);
    assert!(Hello { alpn: &["http/1.1", "h2"], ..usual() }.is_answered(to).await);
    assert!(!Hello { alpn: &["http/1.1"], ..usual() }.is_answered(to).await);
    assert!(!Hello { alpn: &[], ..usual() }.is_answered(to).await);
    assert!(refuses_tls_1_1(to).await);
}

#[tokio::test]
async fn a_rotated_certificate_is_loaded_while_calls_continue() {
    let (files, pki) = (Files::new(), Pki::new());
    let (first, second) = (pki.sign("first"), pki.sign("second"));
    let server = start(&files.certificate(&first));
    let to = server.address();
    let channel = server.secure_channel(trusting(&pki)).await.unwrap();
    let traffic = Traffic::start(Wire::over(channel));
    assert_eq!(shown_certificate(&pki, to).await, first.cert_der);

    // A new certificate does not match the old key.
    files.put("server.crt", &second.cert_pem);
    let kept = server.wait_for_log(|line| line["msg"] == "kept the previous certificate");
    assert_eq!(kept["level"], "warn");
    assert!(kept["error"].as_str().unwrap().contains("server.crt"), "{kept}");
    assert_eq!(shown_certificate(&pki, to).await, first.cert_der);
    traffic.goes_on().await;

    files.put("server.key", &second.key.serialize_pem());
    server.wait_for_log(|line| line["msg"] == "loaded a changed certificate");
    assert_eq!(shown_certificate(&pki, to).await, second.cert_der);
    traffic.goes_on().await;

    // The server continues if a file is missing for a while.
    fs::remove_file(files.path("server.key")).unwrap();
    server.wait_for_log(|line| {
        line["error"]
            .as_str()
            .is_some_and(|error| error.contains("cannot be read") && error.contains("tls-key"))
    });
    assert_eq!(shown_certificate(&pki, to).await, second.cert_der);
    traffic.goes_on().await;
    traffic.stop().await.unwrap();
}

#[tokio::test]
async fn after_a_rotated_certificate_authority_only_its_clients_are_accepted() {
    let (files, pki, next) = (Files::new(), Pki::new(), Pki::new());
    let [certificate, key] = files.certificate(&pki.sign("server"));
    let authority = format!("--tls-client-ca={}", files.put("ca.crt", &pki.ca_pem));
    let server = start(&[certificate, key, authority]);
    let (former, latter) = (pki.sign("client"), next.sign("client"));
    assert!(Hello::usual(&pki, Some(&former)).is_answered(server.address()).await);
    assert!(!Hello::usual(&pki, Some(&latter)).is_answered(server.address()).await);
    files.put("ca.crt", &next.ca_pem);
    server.wait_for_log(|line| line["msg"] == "loaded a changed certificate");
    assert!(!Hello::usual(&pki, Some(&former)).is_answered(server.address()).await);
    assert!(Hello::usual(&pki, Some(&latter)).is_answered(server.address()).await);
}

#[test]
fn unusable_tls_files_end_the_program_and_are_not_printed() {
    let (files, pki) = (Files::new(), Pki::new());
    let signed = pki.sign("server");
    let [certificate, key] = files.certificate(&signed);
    let private = signed.key.serialize_pem();
    let other_key = format!("--tls-key={}", files.put("other.key", &pki.sign("x").key.serialize_pem()));
    let rubbish = files.put("rubbish.pem", "hunter2 is no certificate\n");
    let broken =
        files.put("broken.pem", "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n");
    let directory = files.directory.path().to_str().unwrap();
    let nowhere = files.path("nowhere.pem");
    let nowhere = nowhere.to_str().unwrap();
    let key_file = files.path("server.key");
    for (flags, words) in [
        (vec![certificate.clone()], vec!["tls-cert", "tls-key"]),
        (vec![key.clone()], vec!["tls-key", "tls-cert"]),
        (vec![format!("--tls-client-ca={rubbish}")], vec!["tls-client-ca", "tls-cert"]),
        (vec![format!("--tls-cert={nowhere}"), key.clone()], vec!["tls-cert: ", nowhere, "cannot be read"]),
        (vec![certificate.clone(), format!("--tls-key={nowhere}")], vec!["tls-key: ", nowhere]),
        (vec![certificate.clone(), format!("--tls-key={directory}")], vec!["tls-key: ", directory]),
        (vec![format!("--tls-cert={rubbish}"), key.clone()], vec!["tls-cert: ", &rubbish, "certificate"]),
        (
            vec![format!("--tls-cert={}", key_file.display()), key.clone()],
            vec!["tls-cert: ", "server.key", "certificate"],
        ),
        (
            vec![certificate.clone(), format!("--tls-key={rubbish}")],
            vec!["tls-key: ", &rubbish, "private key"],
        ),
        (vec![certificate.clone(), format!("--tls-key={broken}")], vec!["tls-key", &broken]),
        (vec![certificate.clone(), other_key], vec!["tls-cert", "tls-key", "server.crt", "other.key"]),
        (
            vec![certificate.clone(), key.clone(), format!("--tls-client-ca={rubbish}")],
            vec!["tls-client-ca: ", &rubbish, "certificate"],
        ),
        (
            vec![certificate.clone(), key.clone(), format!("--tls-client-ca={nowhere}")],
            vec!["tls-client-ca: ", nowhere],
        ),
    ] {
        let output = refused(&flags);
        assert_ends(&output, 2, &words);
        let errors = String::from_utf8_lossy(&output.stderr);
        let secret = private.lines().nth(1).unwrap();
        assert!(!errors.contains("hunter2") && !errors.contains("aHVudGVyMg") && !errors.contains(secret));
    }
}
