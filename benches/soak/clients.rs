//! Ordinary clients that list grants, each on its own connection.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use baton_retool::proto::connector::connector_service_client::ConnectorServiceClient;
use baton_retool::proto::connector::grants_service_client::GrantsServiceClient;
use baton_retool::proto::connector::{
    ConnectorServiceGetMetadataRequest, GrantsServiceListGrantsRequest, Resource, ResourceId,
};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::SIZES;
use crate::support::postgres::Sizes;
use crate::support::server::Server;

/// The calls of one or more clients.
#[derive(Default)]
pub(crate) struct Calls {
    /// Of the calls that succeeded.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) failures: Vec<Failure>,
}

/// A call that failed.
pub(crate) struct Failure {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Failure {
    fn of(status: &Status, began: Instant) -> Self {
        let (code, message) = (status.code(), status.message().to_owned());
        Self { began, ended: Instant::now(), code, message }
    }
}

impl Calls {
    pub(crate) fn extend(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failures.extend(other.failures);
    }

    /// The latency in milliseconds that this share of the calls does not exceed; 0 without a call.
    pub(crate) fn percentile(&mut self, share: f64) -> f64 {
        self.latencies.sort();
        let last = self.latencies.len().saturating_sub(1);
        let latency = self.latencies.get((last as f64 * share) as usize);
        latency.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// Lists grants with this many clients, each with an address of its own, until `end`. Each makes its first call
/// before the next one connects: the server closes connections without a call if there are many.
pub(crate) async fn run(server: &Server, clients: u32, token: Option<&'static str>, end: Instant) -> Calls {
    let (mut running, mut calls) = (Vec::new(), Calls::default());
    for number in 0..clients {
        let last = u8::try_from(number + 1).expect("at most 255 clients");
        let channel = server.channel_from(Ipv4Addr::new(127, 0, 2, last).into()).await;
        let mut client = ConnectorServiceClient::new(channel.clone());
        let began = Instant::now();
        let first = client.get_metadata(request(ConnectorServiceGetMetadataRequest::default(), token)).await;
        calls.failures.extend(first.err().map(|status| Failure::of(&status, began)));
        running.push(tokio::spawn(list(channel, number, token, end)));
    }
    for client in running {
        calls.extend(client.await.expect("the end of a client"));
    }
    calls
}

/// Lists the grants of one resource after the other, all pages, until the end. A failed call is retried after
/// a short pause, as agents do.
async fn list(channel: Channel, number: u32, token: Option<&'static str>, end: Instant) -> Calls {
    let mut client = GrantsServiceClient::new(channel);
    let mut calls = Calls::default();
    for step in number.. {
        let on = match step % 3 {
            0 => resource("group", &format!("g{}", step % SIZES.groups + 1)),
            1 => resource("page", &format!("p{}", step % SIZES.pages + 1)),
            _ => resource("resource", &format!("r{}", step % SIZES.resources + 1)),
        };
        let mut page_token = String::new();
        loop {
            let began = Instant::now();
            if began >= end {
                return calls;
            }
            match client.list_grants(request(grants(&on, &page_token), token)).await {
                Ok(answer) => {
                    calls.latencies.push(began.elapsed());
                    page_token = answer.into_inner().next_page_token;
                    if page_token.is_empty() {
                        break;
                    }
                }
                Err(status) => {
                    calls.failures.push(Failure::of(&status, began));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    calls
}

/// The resource with the largest answer about its grants, and the size of this answer in bytes.
pub(crate) async fn largest(server: &Server, token: Option<&'static str>, sizes: Sizes) -> (Resource, usize) {
    let mut client = GrantsServiceClient::new(server.channel().await);
    let groups = (1..=sizes.groups).map(|number| resource("group", &format!("g{number}")));
    let pages = (1..=sizes.pages).map(|number| resource("page", &format!("p{number}")));
    let mut largest = (Resource::default(), 0);
    for on in groups.chain(pages) {
        // Some pages are deleted.
        if let Ok(answer) = client.list_grants(request(grants(&on, ""), token)).await {
            let size = answer.into_inner().encoded_len();
            if size > largest.1 {
                largest = (on, size);
            }
        }
    }
    assert!(largest.1 > 0, "no answer has grants");
    largest
}

fn grants(on: &Resource, page_token: &str) -> GrantsServiceListGrantsRequest {
    GrantsServiceListGrantsRequest {
        resource: Some(on.clone()),
        page_token: page_token.to_owned(),
        ..Default::default()
    }
}

/// The request with this token.
fn request<T>(message: T, token: Option<&'static str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let authorization = format!("Bearer {token}").parse().expect("a header value");
        request.metadata_mut().insert("authorization", authorization);
    }
    request
}

/// A resource of the organization of the seed.
fn resource(kind: &str, id: &str) -> Resource {
    let id_of = |kind: &str, resource: &str| ResourceId {
        resource_type: kind.to_owned(),
        resource: resource.to_owned(),
        ..Default::default()
    };
    Resource { id: Some(id_of(kind, id)), parent_resource_id: Some(id_of("org", "o1")), ..Default::default() }
}
