#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::Full;
use tonic::body::Body;
use tonic::{Request, Response};
use tower::ServiceExt;

use super::*;
use crate::proto::connector::grants_service_client::GrantsServiceClient;
use crate::proto::connector::grants_service_server::{GrantsService, GrantsServiceServer};
use crate::proto::connector::{
    GrantsServiceListGrantsRequest, GrantsServiceListGrantsResponse, Resource, ResourceId,
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
