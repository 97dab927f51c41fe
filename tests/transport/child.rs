//! The connector as the child of an agent (spec, child process).

use std::process::Command;

use baton_retool::agent::sync::{CountOnly, walk};
use baton_retool::proto::connector::connector_service_client::ConnectorServiceClient;
use baton_retool::proto::connector::resources_service_client::ResourcesServiceClient;
use baton_retool::proto::connector::{
    ConnectorServiceGetMetadataRequest, ConnectorServiceValidateRequest, DeleteResourceRequest,
    ResourcesServiceListResourcesRequest,
};
use baton_retool::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use baton_retool::proto::ratelimit::rate_limiter_config::Type as Limiter;
use baton_retool::proto::ratelimit::rate_limiter_service_client::RateLimiterServiceClient;
use baton_retool::proto::ratelimit::{
    DisabledLimiter, DoRequest, ExternalLimiter, FixedMemoryLimiter, RateLimitDescriptors, RateLimiterConfig,
    SlidingMemoryLimiter, rate_limit_descriptors,
};
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::support::changes::Changes;
use crate::support::handshake::{Hello, refuses_tls_1_1};
use crate::support::parent::{Parent, Pki};
use crate::support::postgres::Database;
use crate::support::wire::{Wire, assert_refused, id};

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
    let (found, _) = walk(parent.channel().await, CountOnly).await.unwrap();
    let grants: u64 = found.types.iter().map(|(_, counts)| counts.grants).sum();
    assert!(grants > 1_000, "{found:?}");
}

#[tokio::test]
async fn a_database_that_is_down_is_told_in_answers_and_not_by_dying() {
    let parent = Parent::new(NOWHERE);
    let _child = parent.start_and_tell();
    let mut client = ConnectorServiceClient::new(parent.channel().await);
    assert!(client.get_metadata(ConnectorServiceGetMetadataRequest::default()).await.is_ok());
    // It tries for fifteen seconds before it says so.
    let refusal = client.validate(ConnectorServiceValidateRequest::default()).await.unwrap_err();
    assert_refused::<()>(Err(refusal), Code::Unavailable, &["cannot connect to the Retool database"]);
    assert!(client.get_metadata(ConnectorServiceGetMetadataRequest::default()).await.is_ok());
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

// === a child that cannot serve ===

#[test]
fn settings_that_cannot_be_right_end_the_child_with_their_reason() {
    for (arguments, words) in [
        (&["--connection-string="][..], "connection-string is required"),
        (&["--connection-string", "host=h sslmod=require"], "sslmod in the connection string is not"),
        (&["--connection-string", NOWHERE, "--skip-pages=maybe"], "skip-pages (flag --skip-pages): "),
        (&["--connection-string", NOWHERE, "--tls-cert", "x"], "tls-key"),
        (&["--connection-string", NOWHERE, "--no-such-flag"], "unexpected argument '--no-such-flag' found"),
    ] {
        let mut parent = Parent::new(NOWHERE);
        parent.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // Neither a parent that says nothing, nor one that says it all and does not connect, is waited for.
        for input in [String::new(), format!("{}\n", parent.line())] {
            let (code, last) = last_words(&parent, Some(&input));
            assert_eq!(code, Some(1), "{last}");
            assert!(last.contains(words), "{words}: {last}");
        }
    }
}

/// A parent of the former program looks at its child only once it is connected.
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
async fn a_child_that_cannot_serve_takes_nobody_else_for_its_parent() {
    let parent = Parent::new(NOWHERE).with(&["--skip-pages=maybe"]);
    let child = parent.start_and_tell();
    let stranger = Pki::new();
    let impostor = stranger.sign("c1-connector-client");
    assert!(
        !Hello { pki: &parent.pki, ..Hello::usual(&stranger, Some(&impostor)) }
            .is_answered(parent.address())
            .await
    );
    let client = parent.pki.sign("c1-connector-client");
    assert!(Hello::usual(&parent.pki, Some(&client)).is_answered(parent.address()).await);
    assert_eq!(child.ended().0.code(), Some(1));
}

// === the connection ===

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_parents_that_ask_for_h2() {
    let parent = Parent::new(NOWHERE);
    let _child = parent.start_and_tell();
    let client = parent.pki.sign("c1-connector-client");
    let usual = || Hello::usual(&parent.pki, Some(&client));
    let to = parent.address();
    assert!(Hello { versions: &[&rustls::version::TLS13], ..usual() }.is_answered(to).await);
    assert!(Hello { versions: &[&rustls::version::TLS12], ..usual() }.is_answered(to).await);
    assert!(!Hello { alpn: &["http/1.1"], ..usual() }.is_answered(to).await);
    assert!(!Hello { alpn: &[], ..usual() }.is_answered(to).await);
    assert!(refuses_tls_1_1(to).await);
}

#[tokio::test]
async fn a_parent_may_connect_anew_as_often_as_it_likes() {
    let parent = Parent::new(NOWHERE);
    let _child = parent.start_and_tell();
    for _ in 0..20 {
        assert!(Wire::over(parent.channel().await).metadata().await.is_ok());
    }
}

#[tokio::test]
async fn a_listener_on_ipv6_is_as_good() {
    let mut parent = Parent::new(NOWHERE);
    parent.listen("[::1]:0");
    let _child = parent.start_and_tell();
    assert!(Wire::over(parent.channel().await).metadata().await.is_ok());
}

#[tokio::test]
async fn a_parent_that_is_killed_takes_its_child_along() {
    let parent = Parent::new(NOWHERE);
    let (child, mut holder) = parent.start_held();
    assert!(Wire::over(parent.channel().await).metadata().await.is_ok());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(child.ended().0.code(), Some(0));
}

#[tokio::test]
async fn requests_may_be_compressed_and_may_not_be_larger_than_4_mib() {
    let parent = Parent::new(NOWHERE);
    let _child = parent.start_and_tell();
    let channel = parent.channel().await;
    let mut plain = ResourcesServiceClient::new(channel.clone());
    let mut client = ResourcesServiceClient::new(channel).send_compressed(CompressionEncoding::Gzip);
    let request = |token: String| ResourcesServiceListResourcesRequest {
        resource_type_id: "org".to_owned(),
        page_token: token,
        ..Default::default()
    };
    // That it was read shows in the complaint about its contents.
    let refusal = client.list_resources(request("A".repeat(1_000))).await.map(|_| ());
    assert_refused(refusal, Code::InvalidArgument, &["page_token"]);
    const MIB: usize = 1024 * 1024;
    for size in [4 * MIB + 1, 40 * MIB] {
        // Small on the wire.
        let refusal = client.list_resources(request("A".repeat(size))).await.map(|_| ());
        assert_refused(refusal, Code::ResourceExhausted, &["4194304"]);
        let refusal = plain.list_resources(request("A".repeat(size))).await.map(|_| ());
        assert_refused(refusal, Code::ResourceExhausted, &["4194304"]);
    }
}

// === what it answers ===

#[tokio::test]
async fn there_is_neither_reflection_nor_health_whatever_the_settings_say() {
    let parent = Parent::new(NOWHERE).with(&["--reflection=true", "--health-check", "--health-check-port=0"]);
    let mut child = parent.start_and_tell();
    let wire = Wire::over(parent.channel().await);
    for path in [
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "grpc.health.v1.Health/Check",
        "c1.connector.v2.SchemaService/GetSchema",
    ] {
        assert_refused(wire.raw(path, vec![]).await, Code::Unimplemented, &[]);
    }
    child.close_stdin();
    assert!(!child.ended().3.contains("health endpoints"));
}

#[tokio::test]
async fn what_is_switched_off_is_refused_in_the_known_words() {
    let parent = Parent::new(NOWHERE);
    let _child = parent.start_and_tell();
    let wire = Wire::over(parent.channel().await);
    let delete = DeleteResourceRequest { resource_id: Some(id("user", "u1")), parent_resource_id: None };
    let refusal = wire.call::<()>("ResourceManagerService/DeleteResource", &delete).await;
    let status = assert_refused(refusal, Code::FailedPrecondition, &[]);
    assert_eq!(status.message(), "provisioning is not enabled");
    let refusal = wire.call::<()>("TicketsService/ListTicketSchemas", &()).await;
    let status = assert_refused(refusal, Code::Unknown, &[]);
    assert_eq!(status.message(), "ticketing is not enabled");

    let parent = Parent::new(NOWHERE).with(&["--ticketing"]);
    let _child = parent.start_and_tell();
    let refusal =
        Wire::over(parent.channel().await).call::<()>("TicketsService/ListTicketSchemas", &()).await;
    let status = assert_refused(refusal, Code::Unimplemented, &[]);
    assert!(status.message().starts_with("ticket manager not implemented"), "{status:?}");
}

#[tokio::test]
async fn every_limiter_that_there_is_lets_calls_go_ahead() {
    for limiter in [
        None,
        Some(Limiter::Disabled(DisabledLimiter {})),
        Some(Limiter::SlidingMem(SlidingMemoryLimiter { use_percent: 0.5 })),
        Some(Limiter::FixedMem(FixedMemoryLimiter {
            rate: 1_000,
            period: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        })),
    ] {
        let mut parent = Parent::new(NOWHERE);
        parent.config.rate_limiter_config =
            limiter.map(|limiter| RateLimiterConfig { r#type: Some(limiter) });
        let _child = parent.start_and_tell();
        let mut client = RateLimiterServiceClient::new(parent.channel().await);
        for token in ["", "a-token"] {
            let answer = client.r#do(limiter_request(token)).await.unwrap().into_inner();
            assert_eq!(answer.request_token, token);
            assert_eq!(answer.description.unwrap().status(), LimitStatus::Empty);
        }
    }
}

fn limiter_request(token: &str) -> DoRequest {
    let entry =
        rate_limit_descriptors::Entry { key: "connector_method".to_owned(), value: "/a.B/C".to_owned() };
    DoRequest {
        request_token: token.to_owned(),
        service: "connector".to_owned(),
        descriptors: Some(RateLimitDescriptors { entries: vec![entry] }),
    }
}

// === what it is told ===

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
        // A group is no member of groups, which is said without asking the database.
        let granted = Changes::over(parent.channel().await).grant("group:g1:member", "group/g1").await;
        assert_eq!(granted.unwrap_err().code(), expected, "{arguments:?}");
        child.close_stdin();
        child.ended();
    }
}

#[tokio::test]
async fn the_log_is_json_on_stderr_whatever_the_parent_does_with_its_own() {
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
