//! Bearer tokens: admission, rotation, and unusable files.

use tonic::Code;

use super::{Files, HEALTH, REFLECTION, TOKENS, Traffic, assert_ends, refused, start, trusting};
use crate::support::parent::Pki;
use crate::support::wire::{Wire, assert_refused};

#[tokio::test]
async fn a_caller_without_a_valid_token_gets_only_unauthenticated() {
    let files = Files::new();
    let server = start(&[files.tokens(&TOKENS[..2]), "--health-without-token=false".to_owned()]);
    let wire = Wire::to(&server).await;
    for token in &TOKENS[..2] {
        assert!(wire.showing(token).metadata().await.is_ok());
        assert_refused(wire.showing(token).raw("no.Service/Method", vec![]).await, Code::Unimplemented, &[]);
        assert!(wire.showing(token).raw(HEALTH, vec![]).await.is_ok());
    }
    let mut answers = Vec::new();
    for showing in [wire.clone(), wire.showing(TOKENS[2]), wire.showing(""), wire.showing("first-token")] {
        for (path, request) in [
            ("c1.connector.v2.ConnectorService/GetMetadata", vec![]),
            // A request that breaks a rule, a malformed request, and a request that is too large.
            ("c1.connector.v2.ResourcesService/ListResources", vec![]),
            ("c1.connector.v2.ResourcesService/ListResources", vec![0xff; 40]),
            ("c1.connector.v2.ResourcesService/ListResources", vec![0; 5 * 1024 * 1024]),
            ("c1.connector.v2.ResourcesService/NoSuchMethod", vec![]),
            ("no.such.Service/Method", vec![]),
            (REFLECTION, vec![]),
            (HEALTH, vec![]),
        ] {
            let status = assert_refused(showing.raw(path, request).await, Code::Unauthenticated, &[]);
            answers.push((status.message().to_owned(), status.details().to_vec()));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answers differ: {answers:?}");
}

#[tokio::test]
async fn only_health_is_open_without_a_token() {
    let files = Files::new();
    let server = start(&[files.tokens(&TOKENS[..1])]);
    let wire = Wire::to(&server).await;
    assert!(wire.raw(HEALTH, vec![]).await.is_ok());
    assert_refused(wire.metadata().await, Code::Unauthenticated, &[]);
    assert_refused(wire.raw(REFLECTION, vec![]).await, Code::Unauthenticated, &[]);
}

// The client notices the stop of the server while this thread waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn rotated_tokens_are_loaded_while_calls_continue() {
    let files = Files::new();
    let server = start(&[files.tokens(&TOKENS[..2])]);
    let wire = Wire::to(&server).await;
    let traffic = Traffic::start(wire.showing(TOKENS[1]));
    files.put("tokens", "short\n");
    let kept = server.wait_for_log(|line| line["msg"] == "kept the previous tokens");
    assert!(kept["error"].as_str().unwrap().contains("auth-token-file"), "{kept}");
    traffic.goes_on().await;

    files.put("tokens", &TOKENS[1..].join("\n"));
    server.wait_for_log(|line| line["msg"] == "loaded changed tokens");
    assert!(wire.showing(TOKENS[2]).metadata().await.is_ok());
    assert_refused(wire.showing(TOKENS[0]).metadata().await, Code::Unauthenticated, &[]);
    traffic.goes_on().await;
    traffic.stop().await.unwrap();
    let log = format!("{:?}", server.stop().1);
    assert!(TOKENS.iter().all(|token| !log.contains(token)), "a token is in the log");
}

#[tokio::test]
async fn a_changed_token_file_of_equal_length_and_time_is_reloaded() {
    let files = Files::new();
    let server = start(&[files.tokens(&TOKENS[..1])]);
    let wire = Wire::to(&server).await;
    assert!(wire.showing(TOKENS[0]).metadata().await.is_ok());
    let path = files.path("tokens");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let other = TOKENS[0].replace('0', "9");
    std::fs::write(&path, &other).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    server.wait_for_log(|line| line["msg"] == "loaded changed tokens");
    assert!(wire.showing(&other).metadata().await.is_ok());
    assert_refused(wire.showing(TOKENS[0]).metadata().await, Code::Unauthenticated, &[]);
}

#[test]
fn unusable_token_files_end_the_program_and_are_not_printed() {
    let files = Files::new();
    let nowhere = files.path("nowhere");
    for (path, word) in [
        (nowhere.to_str().unwrap().to_owned(), "cannot be read"),
        (files.put("empty", ""), "one token per line"),
        (files.put("short", "hunter2\n"), "at least 16"),
        (files.put("spaces", "hunter2 and twice hunter2\n"), "visible ASCII"),
    ] {
        let output = refused(&[format!("--auth-token-file={path}")]);
        assert_ends(&output, 2, &["auth-token-file: ", &path, word]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
    }
}

#[tokio::test]
async fn tokens_work_with_tls() {
    let (files, pki) = (Files::new(), Pki::new());
    let [certificate, key] = files.certificate(&pki.sign("server"));
    let server = start(&[certificate, key, files.tokens(&TOKENS)]);
    let wire = Wire::over(server.secure_channel(trusting(&pki)).await.unwrap());
    assert!(wire.showing(TOKENS[0]).metadata().await.is_ok());
    assert_refused(wire.metadata().await, Code::Unauthenticated, &[]);
}
