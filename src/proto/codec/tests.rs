#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::Full;
use tonic::body::Body;
use tonic::{Request, Response};
use tower::ServiceExt;

use super::unread::{CHANGES, REFUSED};
use super::*;
use crate::proto::any;
use crate::proto::connector::grants_service_client::GrantsServiceClient;
use crate::proto::connector::grants_service_server::{GrantsService, GrantsServiceServer};
use crate::proto::connector::{
    CreateAccountRequest, CreateResourceRequest, DeleteResourceRequest, DeleteResourceV2Request, Entitlement,
    Grant, GrantManagerServiceGrantRequest, GrantManagerServiceRevokeRequest, GrantsServiceListGrantsRequest,
    GrantsServiceListGrantsResponse, InvokeActionRequest, IssueCredentialRequest, ListEventsRequest,
    RequestId, Resource, ResourceId, RotateCredentialRequest, TicketsServiceBulkCreateTicketsRequest,
    TicketsServiceBulkGetTicketsRequest, TicketsServiceCreateTicketRequest, TicketsServiceGetTicketRequest,
    TicketsServiceGetTicketSchemaRequest, TicketsServiceListTicketSchemasRequest,
};

/// Returns a page token longer than the protocol allows: a validated response would be refused.
struct Handler;

const LONG: usize = (1 << 20) + 1;

#[tonic::async_trait]
impl GrantsService for Handler {
    async fn list_grants(
        &self,
        _: Request<GrantsServiceListGrantsRequest>,
    ) -> Result<Response<GrantsServiceListGrantsResponse>, Status> {
        Ok(Response::new(GrantsServiceListGrantsResponse {
            next_page_token: "t".repeat(LONG),
            ..GrantsServiceListGrantsResponse::default()
        }))
    }
}

fn request(resource: &str, page_size: u32) -> GrantsServiceListGrantsRequest {
    let id = ResourceId { resource_type: "page".into(), resource: resource.into(), ..ResourceId::default() };
    GrantsServiceListGrantsRequest {
        resource: Some(Resource { id: Some(id), ..Resource::default() }),
        page_size,
        ..GrantsServiceListGrantsRequest::default()
    }
}

/// A gRPC frame with these bytes as the message.
fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

#[tokio::test]
async fn a_valid_request_passes_and_its_response_is_not_validated() {
    let mut client = GrantsServiceClient::new(GrantsServiceServer::new(Handler));
    let answer = client.list_grants(request("p1", 250)).await.unwrap().into_inner();
    assert_eq!(answer.next_page_token.len(), LONG);
}

#[tokio::test]
async fn an_invalid_request_never_reaches_the_handler() {
    let mut client = GrantsServiceClient::new(GrantsServiceServer::new(Handler));
    let status = client.list_grants(request("p1", 251)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "invalid GrantsServiceListGrantsRequest: page_size must be at most 250, is 251"
    );
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "page_size");
    assert_eq!(violations[0].description, "must be at most 250, is 251");

    let status = client.list_grants(request("", 0)).await.unwrap_err();
    assert_eq!(
        status.message(),
        "invalid GrantsServiceListGrantsRequest: resource.id.resource must be 1 to 1024 bytes long, has 0"
    );
}

#[tokio::test]
async fn a_malformed_request_is_an_invalid_argument() {
    let request = http::Request::post("/c1.connector.v2.GrantsService/ListGrants")
        .header("content-type", "application/grpc")
        .body(Body::new(Full::new(frame(&[0x0a, 0x7f]))))
        .unwrap();
    let response = GrantsServiceServer::new(Handler).oneshot(request).await.unwrap();
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("cannot decode GrantsServiceListGrantsRequest: "), "{status}");
}

#[tokio::test]
async fn a_malformed_response_is_an_internal_error() {
    let broken = tower::service_fn(|_: http::Request<Body>| async {
        let response = http::Response::builder().header("content-type", "application/grpc");
        Ok::<_, Infallible>(response.body(Body::new(Full::new(frame(&[0x0a, 0x7f])))).unwrap())
    });
    let status = GrantsServiceClient::new(broken).list_grants(request("p1", 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().starts_with("cannot decode GrantsServiceListGrantsResponse: "), "{status}");
}

#[test]
fn no_message_is_both_a_request_and_a_response() {
    let is_request = |name: &str| validate::request_rules(name).is_some();
    let mut rpcs = 0;
    for service in crate::proto::descriptor_pool().services() {
        for rpc in service.methods() {
            assert!(is_request(rpc.input().full_name()), "{}", rpc.full_name());
            assert!(!is_request(rpc.output().full_name()), "{}", rpc.full_name());
            rpcs += 1;
        }
    }
    assert!(rpcs > 30);
}

#[test]
fn an_answer_of_conductorone_has_the_budget_of_a_request() {
    use crate::proto::connectorapi::{BatonServiceGetTasksResponse, Task};

    let tasks = BatonServiceGetTasksResponse { tasks: vec![Task::default(); 100], ..Default::default() };
    validate::check_answer(&BatonServiceGetTasksResponse::full_name(), &tasks.encode_to_vec()).unwrap();
    // Two bytes for each task.
    let many = tasks.encode_to_vec().repeat(20_000);
    let refused = validate::check_answer(&BatonServiceGetTasksResponse::full_name(), &many);
    assert!(refused.is_err(), "{refused:?}");
    // Pages of a connector are larger.
    validate::check_answer(&GrantsServiceListGrantsResponse::full_name(), &many).unwrap();
}

/// What the handler of this request gets.
fn passed_on<U: Name + Default>(sent: &U) -> U {
    let name = U::full_name();
    let rules = validate::request_rules(&name).unwrap();
    super::request(&name, rules, sent.encode_to_vec().into()).unwrap()
}

#[test]
fn requests_that_are_always_refused_are_not_decoded() {
    let id =
        || Some(ResourceId { resource_type: "group".into(), resource: "g4".into(), ..ResourceId::default() });
    let resource = || Some(Resource { id: id(), ..Resource::default() });
    let ticket = || TicketsServiceGetTicketRequest { id: "t1".into(), ..Default::default() };
    let new_ticket = || TicketsServiceCreateTicketRequest {
        request: Some(crate::proto::connector::TicketRequest::default()),
        ..Default::default()
    };
    let mut tried = Vec::new();
    macro_rules! passes_on {
        ($($sent:expr => $expected:expr),* $(,)?) => {
            $({
                let (sent, expected) = ($sent, $expected);
                assert_ne!(sent, expected);
                assert_eq!(passed_on(&sent), expected);
                tried.push(full_name(&sent));
            })*
        };
    }
    fn full_name<U: Name>(_: &U) -> String {
        U::full_name()
    }
    passes_on![
        CreateResourceRequest { resource: resource() } => Default::default(),
        DeleteResourceRequest { resource_id: id(), ..Default::default() } => Default::default(),
        DeleteResourceV2Request { resource_id: id(), ..Default::default() } => Default::default(),
        IssueCredentialRequest { identity_id: id(), request_id: "request-1".into(), ..Default::default() } =>
            IssueCredentialRequest { identity_id: Some(ResourceId::default()), ..Default::default() },
        ListEventsRequest { cursor: "c".into(), event_feed_id: "feed".into(), ..Default::default() } =>
            ListEventsRequest { event_feed_id: "feed".into(), ..Default::default() },
        RotateCredentialRequest { resource_id: id(), ..Default::default() } => Default::default(),
        TicketsServiceBulkCreateTicketsRequest { ticket_requests: vec![new_ticket()] } => Default::default(),
        TicketsServiceBulkGetTicketsRequest { ticket_requests: vec![ticket()] } => Default::default(),
        new_ticket() => Default::default(),
        ticket() => Default::default(),
        TicketsServiceGetTicketSchemaRequest { id: "t1".into(), ..Default::default() } => Default::default(),
        TicketsServiceListTicketSchemasRequest { page_size: 1, ..Default::default() } => Default::default(),
    ];
    assert_eq!(tried, REFUSED.map(|(name, _)| name));
    // The other forms of the two requests of which a part is read.
    let without_identity = IssueCredentialRequest { request_id: "request-1".into(), ..Default::default() };
    assert_eq!(passed_on(&without_identity), IssueCredentialRequest::default());
    let default_feed = ListEventsRequest { cursor: "c".into(), ..Default::default() };
    assert_eq!(passed_on(&default_feed), ListEventsRequest::default());
}

/// A call of a server without provisioning. Nothing is left for messages that are decoded as a whole.
struct Off;

impl request_memory::CallMemory for Off {
    fn changes_are_off(&self) -> bool {
        true
    }

    fn settle(&self, _: usize) -> Result<(), Status> {
        Err(request_memory::exhausted())
    }
}

#[tokio::test]
async fn changes_are_not_decoded_while_they_are_off() {
    async fn assert_passed_on<U: Name + Default + PartialEq + std::fmt::Debug>(
        sent: U,
        expected: U,
    ) -> String {
        assert_ne!(sent, expected);
        let passed_on = async { passed_on(&sent) };
        assert_eq!(request_memory::within(std::sync::Arc::new(Off), passed_on).await, expected);
        U::full_name()
    }
    let of = |kind: &str, id: &str| {
        Some(ResourceId { resource_type: kind.into(), resource: id.into(), ..ResourceId::default() })
    };
    let name = "Ann".to_owned();
    let principal =
        |display_name| Some(Resource { id: of("user", "u4"), display_name, ..Resource::default() });
    let entitlement =
        |resource| Some(Entitlement { id: "group:g4:member".into(), resource, ..Entitlement::default() });
    let group = || Some(Resource { id: of("group", "g4"), ..Resource::default() });
    let id = any(&RequestId { request_id: "request-1".into() });
    let revoked = |id: &str, resource, display_name| {
        let (entitlement, principal) = (entitlement(resource), principal(display_name));
        Some(Grant { entitlement, principal, id: id.into(), ..Grant::default() })
    };
    let granted = |resource, display_name, annotations| GrantManagerServiceGrantRequest {
        entitlement: entitlement(resource),
        principal: principal(display_name),
        annotations,
    };
    let tried = [
        assert_passed_on(
            CreateAccountRequest { resource_type_id: "user".into(), ..Default::default() },
            CreateAccountRequest::default(),
        )
        .await,
        assert_passed_on(
            granted(group(), name.clone(), vec![id.clone()]),
            granted(None, String::new(), vec![id.clone()]),
        )
        .await,
        assert_passed_on(
            GrantManagerServiceRevokeRequest {
                grant: revoked("grant-1", group(), name.clone()),
                annotations: vec![id.clone()],
            },
            GrantManagerServiceRevokeRequest {
                grant: revoked("", None, String::new()),
                annotations: vec![id.clone()],
            },
        )
        .await,
        assert_passed_on(
            InvokeActionRequest {
                name: "enable_user".into(),
                args: Some(prost_types::Struct::default()),
                annotations: vec![id.clone()],
                ..Default::default()
            },
            InvokeActionRequest {
                name: "enable_user".into(),
                annotations: vec![id.clone()],
                ..Default::default()
            },
        )
        .await,
    ];
    assert_eq!(tried, CHANGES.map(|(name, _)| name));
    let flood = granted(group(), name, vec![id; 1000]);
    let kept = request_memory::within(std::sync::Arc::new(Off), async { passed_on(&flood) }).await;
    assert!((1..100).contains(&kept.annotations.len()), "{}", kept.annotations.len());
    assert_eq!(kept.principal, principal(String::new()));
}
