//! Lists grants without decoding them, which measures the speed of the server independently of a client.

use std::time::{Duration, Instant};

use baton_retool::proto::connector::{GrantsServiceListGrantsRequest, Resource};
use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{IntoRequest as _, Status};
use tonic_prost::ProstCodec;

/// An answer to ListGrants, with grants in their wire format.
#[derive(Clone, PartialEq, prost::Message)]
struct Page {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    list: Vec<Bytes>,
    #[prost(string, tag = "2")]
    next_page_token: String,
}

/// Lists the grants of all resources in one sync, one call at a time. Returns their number and the duration.
pub(crate) async fn list_grants(channel: Channel, resources: &[Resource]) -> Result<(u64, Duration), Status> {
    let mut client = Grpc::new(channel);
    let started = Instant::now();
    let mut grants = 0;
    for resource in resources {
        let mut page_token = String::new();
        loop {
            let request = GrantsServiceListGrantsRequest {
                resource: Some(resource.clone()),
                active_sync_id: "counted".to_owned(),
                page_token,
                ..Default::default()
            };
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = PathAndQuery::from_static("/c1.connector.v2.GrantsService/ListGrants");
            let codec = ProstCodec::<GrantsServiceListGrantsRequest, Page>::default();
            let page = client.unary(request.into_request(), path, codec).await?.into_inner();
            grants += page.list.len() as u64;
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
    Ok((grants, started.elapsed()))
}
