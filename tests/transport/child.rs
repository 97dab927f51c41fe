//! The connector as the child process of an agent: start, handshake, settings, end.

use std::process::Command;

use baton_retool::agent::sync::{CountOnly, walk};
use baton_retool::proto::connector::connector_service_client::ConnectorServiceClient;
use baton_retool::proto::connector::{ConnectorServiceGetMetadataRequest, ConnectorServiceValidateRequest};
use baton_retool::proto::ratelimit::rate_limiter_config::Type as Limiter;
use baton_retool::proto::ratelimit::{ExternalLimiter, RateLimiterConfig};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::support::changes::Changes;
use crate::support::handshake::Hello;
use crate::support::parent::{Parent, Pki};
use crate::support::postgres::Database;
use crate::support::wire::{Wire, assert_refused};

pub(super) const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";

/// The last line that a child wrote before it exited, and its exit code.
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
    let (found, _) = walk(parent.channel().await, CountOnly).await.unwrap();
    let grants: u64 = found.types.iter().map(|(_, counts)| counts.grants).sum();
    assert!(grants > 1_000, "{found:?}");
}

#[tokio::test]
async fn a_child_without_its_database_keeps_serving_and_reports_it() {
    let parent = Parent::new(NOWHERE);
    let _child = parent.start_and_tell();
    let mut client = ConnectorServiceClient::new(parent.channel().await);
    assert!(client.get_metadata(ConnectorServiceGetMetadataRequest::default()).await.is_ok());
    // The child tries to connect for fifteen seconds before it reports the error.
    let refusal = client.validate(ConnectorServiceValidateRequest::default()).await.unwrap_err();
    assert_refused::<()>(Err(refusal), Code::Unavailable, &["cannot connect to the Retool database"]);
    assert!(client.get_metadata(ConnectorServiceGetMetadataRequest::default()).await.is_ok());
}

#[tokio::test]
async fn closing_stdin_ends_the_child_immediately_with_exit_code_0() {
    let parent = Parent::new(NOWHERE).with(&["--shutdown-grace-seconds=300"]);
    let mut child = parent.start_and_tell();
    let _channel = parent.channel().await;
    child.close_stdin();
    let (status, took, stdout, _) = child.ended();
    assert_eq!((status.code(), stdout.as_str()), (Some(0), ""));
    // This is far less than the time for a drain.
    assert!(took.as_secs() < 30, "took {took:?}");
}

#[tokio::test]
async fn settings_of_the_agent_do_not_keep_the_child_from_starting() {
    let parent = Parent::new(NOWHERE).with(&["--workers=1000", "--event-feed=banana"]);
    let _child = parent.start_and_tell();
    let mut client = ConnectorServiceClient::new(parent.channel().await);
    client.get_metadata(ConnectorServiceGetMetadataRequest::default()).await.unwrap();
}

#[tokio::test]
async fn other_signals_do_not_end_the_child() {
    let parent = Parent::new(NOWHERE);
    let mut child = parent.start_and_tell();
    let channel = parent.channel().await;
    for signal in ["USR1", "USR2", "HUP"] {
        child.signal(signal);
    }
    let mut client = ConnectorServiceClient::new(channel);
    client.get_metadata(ConnectorServiceGetMetadataRequest::default()).await.unwrap();
    child.close_stdin();
    assert_eq!(child.ended().0.code(), Some(0));
}

#[tokio::test]
async fn extra_bytes_on_stdin_do_not_keep_the_child_running() {
    let parent = Parent::new(NOWHERE);
    let mut child = parent.start_and_tell();
    let _channel = parent.channel().await;
    child.tell(b"x\ny");
    child.close_stdin();
    assert_eq!(child.ended().0.code(), Some(0));
}

#[test]
fn invalid_stdin_is_reported_with_the_messages_of_the_sdk() {
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
fn a_missing_listener_is_reported_with_the_messages_of_the_sdk() {
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
fn a_port_other_than_the_listeners_is_refused() {
    let mut parent = Parent::new(NOWHERE);
    let actual = parent.config.listen_port;
    for expected in [0, 1, actual + 1, actual + 65_536] {
        parent.config.listen_port = expected;
        let (code, last) = last_words(&parent, Some(&format!("{}\n", parent.line())));
        assert_eq!((code, last), (Some(1), format!("listen port mismatch: {actual} != {expected}")));
    }
}

#[test]
fn unsupported_rate_limiters_are_refused() {
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
fn invalid_credentials_end_the_child() {
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
async fn only_certificates_of_the_parent_can_connect() {
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
            "another certificate authority for the server",
            base().ca_certificate(Certificate::from_pem(&stranger.ca_pem)).identity(client()),
            false,
        ),
        (
            "by the name localhost",
            base().ca_certificate(ours()).identity(client()).domain_name("localhost"),
            false,
        ),
    ] {
        // With TLS 1.3, a client notices the refusal only when it sends a request.
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

// === a child that cannot serve ===

#[test]
fn invalid_settings_end_the_child_with_the_reason() {
    let cases = [
        (&["--connection-string="][..], "connection-string is required"),
        (&["--connection-string", "host=h sslmod=require"], "sslmod in the connection string is not"),
        (&["--connection-string", NOWHERE, "--skip-pages=maybe"], "skip-pages (flag --skip-pages): "),
        (&["--connection-string", NOWHERE, "--tls-cert", "x"], "tls-key"),
        (&["--connection-string", NOWHERE, "--no-such-flag"], "unexpected argument '--no-such-flag' found"),
    ];
    // These run in parallel, because each child waits for its parent for a while.
    std::thread::scope(|scope| {
        for (arguments, words) in cases {
            // The wait is short for a parent that sends nothing, and for a parent that sends everything and
            // does not connect.
            for gets_input in [false, true] {
                scope.spawn(move || {
                    let mut parent = Parent::new(NOWHERE);
                    parent.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
                    let input = if gets_input { format!("{}\n", parent.line()) } else { String::new() };
                    let (code, last) = last_words(&parent, Some(&input));
                    assert_eq!(code, Some(1), "{last}");
                    assert!(last.contains(words), "{words}: {last}");
                });
            }
        }
    });
}

/// A parent of the Go connector checks its child only after it has connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_cannot_serve_lets_its_parent_connect_and_then_ends() {
    let unlimited = Some(Limiter::External(ExternalLimiter::default()));
    for parent in [
        Parent::new(NOWHERE).with(&["--skip-pages=maybe"]),
        Parent::new(NOWHERE).with(&["--no-such-flag"]),
        Parent::new("host=h sslmod=require"),
        Parent::new(NOWHERE).limited(RateLimiterConfig { r#type: unlimited }),
    ] {
        let child = parent.start_and_tell();
        let client = parent.pki.sign("c1-connector-client");
        let hello = Hello::usual(&parent.pki, Some(&client));
        assert!(hello.is_answered(parent.address()).await, "{:?}", parent.arguments);
        let (status, ..) = child.ended();
        assert_eq!(status.code(), Some(1), "{:?}", parent.arguments);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_cannot_serve_waits_for_its_real_parent() {
    let parent = Parent::new(NOWHERE).with(&["--skip-pages=maybe"]);
    let child = parent.start_and_tell();
    let stranger = Pki::new();
    let foreign_certificate = stranger.sign("c1-connector-client");
    assert!(
        !Hello { pki: &parent.pki, ..Hello::usual(&stranger, Some(&foreign_certificate)) }
            .is_answered(parent.address())
            .await
    );
    let client = parent.pki.sign("c1-connector-client");
    assert!(Hello::usual(&parent.pki, Some(&client)).is_answered(parent.address()).await);
    assert_eq!(child.ended().0.code(), Some(1));
}

// === settings ===

#[tokio::test]
async fn settings_reach_the_child_in_every_spelling() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".baton.yaml"), "ticketing: true\n").unwrap();
    let file = directory.path().join("other.yaml");
    std::fs::write(&file, "ticketing: true\n").unwrap();
    let none = |_: &mut Command| {};
    let in_directory = |command: &mut Command| {
        command.current_dir(directory.path());
    };
    let variable = |command: &mut Command| {
        command.env("BATON_TICKETING", "true");
    };
    let config_path = |command: &mut Command| {
        command.env("BATON_CONFIG_PATH", &file);
    };
    type Way<'a> = (&'a [&'a str], &'a dyn Fn(&mut Command));
    let ways: [Way<'_>; 7] = [
        (&["--ticketing"], &none),
        (&["--ticketing=true"], &none),
        (&["-p", "--ticketing", "--log-level=info", "--log-format", "json"], &none),
        (&["--provisioning=true", "--ticketing", "--skip-pages"], &none),
        (&[], &in_directory),
        (&[], &variable),
        (&[], &config_path),
    ];
    for (arguments, prepare) in ways {
        let parent = Parent::new(NOWHERE).with(arguments);
        let _child = {
            let mut child = parent.start_prepared(prepare);
            child.tell(format!("{}\n", parent.line()).as_bytes());
            child
        };
        let wire = Wire::over(parent.channel().await);
        let refusal = wire.call::<()>("TicketsService/ListTicketSchemas", &()).await;
        assert_refused(refusal, Code::Unimplemented, &["ticket manager not implemented"]);
    }
}

#[tokio::test]
async fn the_short_form_of_provisioning_reaches_the_child() {
    for (arguments, expected) in [(&["-p"][..], Code::InvalidArgument), (&[][..], Code::FailedPrecondition)] {
        let parent = Parent::new(NOWHERE).with(arguments);
        let mut child = parent.start_and_tell();
        // A group cannot be a member of a group; this error needs no database.
        let granted = Changes::over(parent.channel().await).grant("group:g1:member", "group/g1").await;
        assert_eq!(granted.unwrap_err().code(), expected, "{arguments:?}");
        child.close_stdin();
        child.ended();
    }
}

#[tokio::test]
async fn the_log_of_the_child_is_json_on_stderr() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log");
    for arguments in [&[][..], &["--log-path", file.to_str().unwrap()], &["--log-path=stdout"]] {
        let parent = Parent::new(NOWHERE).with(arguments);
        let mut child = parent.start_and_tell();
        assert!(Wire::over(parent.channel().await).metadata().await.is_ok());
        child.close_stdin();
        let (_, _, stdout, stderr) = child.ended();
        assert_eq!(stdout, "");
        assert!(stderr.contains("serving the parent process"), "{stderr}");
        for line in stderr.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["level"].is_string() && line["ts"].is_f64() && line["msg"].is_string(), "{line}");
        }
        assert!(!file.exists());
    }
}
