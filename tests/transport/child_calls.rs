//! Calls to the child process of an agent: TLS, reconnects, size limits, and what is refused.

use baton_retool::proto::connector::resources_service_client::ResourcesServiceClient;
use baton_retool::proto::connector::{DeleteResourceRequest, ResourcesServiceListResourcesRequest};
use baton_retool::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use baton_retool::proto::ratelimit::rate_limiter_config::Type as Limiter;
use baton_retool::proto::ratelimit::rate_limiter_service_client::RateLimiterServiceClient;
use baton_retool::proto::ratelimit::{
    DisabledLimiter, DoRequest, FixedMemoryLimiter, RateLimitDescriptors, RateLimiterConfig,
    SlidingMemoryLimiter, rate_limit_descriptors,
};
use tonic::Code;
use tonic::codec::CompressionEncoding;

use super::child::NOWHERE;
use crate::support::handshake::{Hello, refuses_tls_1_1};
use crate::support::parent::Parent;
use crate::support::wire::{Wire, assert_refused, id};

#[tokio::test]
async fn tls_1_2_and_1_3_with_alpn_h2_are_accepted_from_parents() {
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
async fn a_parent_can_reconnect_repeatedly() {
    let parent = Parent::new(NOWHERE);
    let _child = parent.start_and_tell();
    for _ in 0..20 {
        assert!(Wire::over(parent.channel().await).metadata().await.is_ok());
    }
}

#[tokio::test]
async fn a_listener_on_ipv6_works() {
    let mut parent = Parent::new(NOWHERE);
    parent.listen("[::1]:0");
    let _child = parent.start_and_tell();
    assert!(Wire::over(parent.channel().await).metadata().await.is_ok());
}

#[tokio::test]
async fn the_child_ends_when_its_parent_is_killed() {
    let parent = Parent::new(NOWHERE);
    let (child, mut holder) = parent.start_held();
    assert!(Wire::over(parent.channel().await).metadata().await.is_ok());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(child.ended().0.code(), Some(0));
}

#[tokio::test]
async fn requests_can_be_compressed_and_are_limited_to_2_mib() {
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
    // The error about the content shows that the request was read.
    let refusal = client.list_resources(request("A".repeat(1_000))).await.map(|_| ());
    assert_refused(refusal, Code::InvalidArgument, &["page_token"]);
    const MIB: usize = 1024 * 1024;
    for size in [2 * MIB + 1, 40 * MIB] {
        // This request is small on the wire.
        let refusal = client.list_resources(request("A".repeat(size))).await.map(|_| ());
        assert_refused(refusal, Code::ResourceExhausted, &["2097152"]);
        let refusal = plain.list_resources(request("A".repeat(size))).await.map(|_| ());
        assert_refused(refusal, Code::ResourceExhausted, &["2097152"]);
    }
}

// === answers ===

#[tokio::test]
async fn the_child_serves_neither_reflection_nor_health() {
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
async fn disabled_features_are_refused_with_the_messages_of_the_sdk() {
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
async fn calls_succeed_with_every_supported_rate_limiter() {
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
