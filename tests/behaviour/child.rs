//! The connector as the child of an agent (spec, child process).

use baton_retool::proto::connector::connector_service_client::ConnectorServiceClient;
use baton_retool::proto::connector::{ConnectorServiceGetMetadataRequest, ConnectorServiceValidateRequest};
use baton_retool::proto::ratelimit::rate_limiter_config::Type as Limiter;
use baton_retool::proto::ratelimit::{ExternalLimiter, RateLimiterConfig};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::support::parent::{Parent, Pki};
use crate::support::postgres::Database;

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";

/// The last line that a child wrote before it ended, and its exit code.
fn last_words(parent: &Parent, input: Option<&str>) -> (Option<i32>, String) {
    let mut child = parent.start();
    match input {
        Some(input) => child.tell(input.as_bytes()),
        None => child.close_stdin(),
    }
    let (status, _, stdout, stderr) = child.ended();
    assert_eq!(stdout, "", "nothing may be written to stdout");
    (status.code(), stderr.lines().last().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_parent_reads_everything_through_its_child() {
    let database = Database::small().await;
    let parent = Parent::new(&database.url());
    let _child = parent.start_and_tell();
    let found =
        baton_retool::agent::walk::walk(parent.channel().await, &mut baton_retool::agent::walk::CountOnly)
            .await
            .unwrap();
    let grants: u64 = found.types.iter().map(|(_, counts)| counts.grants).sum();
    assert!(grants > 1_000, "{found:?}");
}

#[tokio::test]
async fn a_database_that_is_down_is_told_in_answers_and_not_by_dying() {
    let parent = Parent::new(NOWHERE);
    let _child = parent.start_and_tell();
    let mut client = ConnectorServiceClient::new(parent.channel().await);
    assert!(client.get_metadata(ConnectorServiceGetMetadataRequest::default()).await.is_ok());
    let mut request = tonic::Request::new(ConnectorServiceValidateRequest::default());
    request.set_timeout(std::time::Duration::from_secs(2));
    let refusal = client.validate(request).await.unwrap_err();
    // The client's library says Cancelled when its own clock is the first.
    let told = matches!(refusal.code(), Code::DeadlineExceeded | Code::Unavailable | Code::Cancelled);
    assert!(told, "{refusal:?}");
}

#[tokio::test]
async fn the_end_of_stdin_ends_the_child_at_once_with_exit_code_0() {
    let parent = Parent::new(NOWHERE);
    let mut child = parent.start_and_tell();
    let _channel = parent.channel().await;
    child.close_stdin();
    let (status, took, stdout, _) = child.ended();
    assert_eq!((status.code(), stdout.as_str()), (Some(0), ""));
    // Far from the ten seconds that a drain would be granted.
    assert!(took.as_secs() < 2, "took {took:?}");
}

#[tokio::test]
async fn stray_bytes_on_stdin_do_not_hide_its_end() {
    let parent = Parent::new(NOWHERE);
    let mut child = parent.start_and_tell();
    let _channel = parent.channel().await;
    child.tell(b"x\ny");
    child.close_stdin();
    assert_eq!(child.ended().0.code(), Some(0));
}

#[test]
fn bad_input_is_named_as_parents_know_it() {
    let parent = Parent::new(NOWHERE);
    let good = parent.line();
    for (input, words) in [
        ("\n".to_owned(), "unexpected empty input"),
        ("\r\n".to_owned(), "unexpected empty input"),
        ("AA!A\n".to_owned(), "illegal base64 data at input byte 2"),
        (format!("{}-_\n", &good[..4]), "illegal base64 data at input byte 4"),
        ("AAAA\n".to_owned(), "proto: cannot parse invalid wire-format data"),
        (format!("{}\n", "A".repeat(70_000)), "failed to read stdin"),
    ] {
        let (code, last) = last_words(&parent, Some(&input));
        assert_eq!(code, Some(1), "{last}");
        assert!(last.starts_with(words), "{words}: {last}");
    }
    let (code, last) = last_words(&parent, None);
    assert_eq!((code, last.as_str()), (Some(1), "unexpected empty input"));
}

#[test]
fn a_listener_that_is_not_there_is_named_as_parents_know_it() {
    for (descriptor, words) in [
        (None, "missing required listener fd"),
        (Some(""), "missing required listener fd"),
        (Some("abc"), "invalid listener fd: "),
        (Some("-1"), "invalid listener fd: must be non-negative"),
        (Some("77"), "file file+net listener: "),
        (Some("0"), "file file+net listener: "),
    ] {
        let mut parent = Parent::new(NOWHERE);
        parent.descriptor = descriptor.map(str::to_owned);
        let (code, last) = last_words(&parent, Some(&format!("{}\n", parent.line())));
        assert_eq!(code, Some(1), "{last}");
        assert!(last.starts_with(words), "{words}: {last}");
    }
}

#[test]
fn another_port_than_the_listeners_is_refused() {
    let mut parent = Parent::new(NOWHERE);
    let actual = parent.config.listen_port;
    for expected in [0, 1, actual + 1, actual + 65_536] {
        parent.config.listen_port = expected;
        let (code, last) = last_words(&parent, Some(&format!("{}\n", parent.line())));
        assert_eq!((code, last), (Some(1), format!("listen port mismatch: {actual} != {expected}")));
    }
}

#[test]
fn rate_limiters_that_there_are_not_are_refused() {
    for (limiter, words) in [
        (
            Some(Limiter::External(ExternalLimiter::default())),
            "external rate limiters are not implemented yet",
        ),
        (None, "invalid ratelimiter config"),
    ] {
        let parent = Parent::new(NOWHERE).limited(RateLimiterConfig { r#type: limiter });
        let (code, last) = last_words(&parent, Some(&format!("{}\n", parent.line())));
        assert_eq!((code, last.as_str()), (Some(1), words));
    }
}

#[test]
fn credentials_that_are_none_end_the_child() {
    let mut parent = Parent::new(NOWHERE);
    parent.config.credential = None;
    assert_eq!(last_words(&parent, Some(&format!("{}\n", parent.line()))).0, Some(1));
    let mut parent = Parent::new(NOWHERE);
    if let Some(credential) = &mut parent.config.credential {
        credential.key.truncate(32);
    }
    let (code, last) = last_words(&parent, Some(&format!("{}\n", parent.line())));
    assert_eq!(code, Some(1));
    assert!(last.contains("32 bytes"), "{last}");
}

#[tokio::test]
async fn only_the_parents_own_certificates_open_the_door() {
    let parent = Parent::new(NOWHERE);
    let _child = parent.start_and_tell();
    let ours = || Certificate::from_pem(&parent.pki.ca_pem);
    let client = || parent.pki.sign("c1-connector-client").identity();
    let stranger = Pki::new();
    let expired = parent.pki.sign_with("c1-connector-client", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let base = || ClientTlsConfig::new().domain_name("127.0.0.1");
    for (name, tls, opens) in [
        ("the parent's own", base().ca_certificate(ours()).identity(client()), true),
        ("no client certificate", base().ca_certificate(ours()), false),
        ("a stranger's", base().ca_certificate(ours()).identity(stranger.sign("x").identity()), false),
        ("an expired one", base().ca_certificate(ours()).identity(expired.identity()), false),
        (
            "another authority for the server",
            base().ca_certificate(Certificate::from_pem(&stranger.ca_pem)).identity(client()),
            false,
        ),
        (
            "by the name localhost",
            base().ca_certificate(ours()).identity(client()).domain_name("localhost"),
            false,
        ),
    ] {
        // With TLS 1.3 a client learns that it was turned away only when it asks for something.
        let answer = match parent.try_channel(tls).await {
            Ok(channel) => ConnectorServiceClient::new(channel)
                .get_metadata(ConnectorServiceGetMetadataRequest::default())
                .await
                .is_ok(),
            Err(_) => false,
        };
        assert_eq!(answer, opens, "{name}");
    }
}

#[test]
fn settings_that_cannot_be_right_end_the_child_with_their_reason() {
    let mut parent = Parent::new(NOWHERE);
    parent.arguments = vec!["--connection-string=".to_owned()];
    let (code, last) = last_words(&parent, Some(""));
    assert_eq!(code, Some(2));
    assert!(last.contains("connection-string is required"), "{last}");
}
