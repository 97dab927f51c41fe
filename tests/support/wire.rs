//! A client that can send any bytes to any path.

use std::time::{Duration, Instant};

use baton_retool::proto::connector::{
    ConnectorServiceGetMetadataRequest, ConnectorServiceGetMetadataResponse, ConnectorServiceValidateRequest,
    ConnectorServiceValidateResponse, GrantsServiceListGrantsRequest, GrantsServiceListGrantsResponse,
    Resource, ResourceId, ResourcesServiceListResourcesRequest, ResourcesServiceListResourcesResponse,
};
use http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::server::Server;

/// How long [`eventually`] waits: far longer than any successful operation takes.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A connection to the server under test.
#[derive(Clone)]
pub(crate) struct Wire {
    channel: Channel,
    token: Option<String>,
}

impl Wire {
    pub(crate) async fn to(server: &Server) -> Self {
        Self::over(server.channel().await)
    }

    pub(crate) fn over(channel: Channel) -> Self {
        Self { channel, token: None }
    }

    /// The same connection with a bearer token.
    pub(crate) fn showing(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Whether the connector's validation succeeds.
    pub(crate) async fn validate(&self) -> Result<(), Status> {
        let request = ConnectorServiceValidateRequest::default();
        self.call::<ConnectorServiceValidateResponse>("ConnectorService/Validate", &request).await.map(drop)
    }

    /// The cheapest call without the database.
    pub(crate) async fn metadata(&self) -> Result<ConnectorServiceGetMetadataResponse, Status> {
        self.call("ConnectorService/GetMetadata", &ConnectorServiceGetMetadataRequest::default()).await
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The server's answer to these bytes. The path is `package.Service/Method`.
    pub(crate) async fn raw(&self, path: &str, request: Vec<u8>) -> Result<Vec<u8>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unknown(format!("no connection: {error}")))?;
        let path = PathAndQuery::try_from(format!("/{path}")).unwrap();
        let mut request = Request::new(request);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(grpc.unary(request, path, Bytes).await?.into_inner())
    }

    /// The answer to a method of `c1.connector.v2`, named `Service/Method`.
    pub(crate) async fn call<A: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        let answer = self.raw(&format!("c1.connector.v2.{method}"), request.encode_to_vec()).await?;
        Ok(A::decode(answer.as_slice()).unwrap())
    }

    /// One answer of ListResources.
    pub(crate) async fn resources(
        &self,
        resource_type: &str,
        parent: Option<ResourceId>,
        page_size: u32,
        page_token: &str,
    ) -> Result<ResourcesServiceListResourcesResponse, Status> {
        let request = ResourcesServiceListResourcesRequest {
            resource_type_id: resource_type.to_owned(),
            parent_resource_id: parent,
            page_size,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        self.call("ResourcesService/ListResources", &request).await
    }

    /// The organizations: the cheapest call with the database.
    pub(crate) async fn organizations(&self) -> Result<Vec<Resource>, Status> {
        self.resources("org", None, 0, "").await.map(|answer| answer.list)
    }

    /// One answer of ListGrants.
    pub(crate) async fn grants(
        &self,
        on: Resource,
        page_size: u32,
        page_token: &str,
    ) -> Result<GrantsServiceListGrantsResponse, Status> {
        let request = GrantsServiceListGrantsRequest {
            resource: Some(on),
            page_size,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        self.call("GrantsService/ListGrants", &request).await
    }
}

/// Builds an id: `id("org", "o1")`.
pub(crate) fn id(resource_type: &str, resource: &str) -> ResourceId {
    ResourceId {
        resource_type: resource_type.to_owned(),
        resource: resource.to_owned(),
        ..Default::default()
    }
}

/// A resource of the first organization, as in an agent's request.
pub(crate) fn resource(resource_type: &str, resource: &str) -> Resource {
    let parent_resource_id = (resource_type != "org").then(|| id("org", "o1"));
    Resource {
        id: Some(id(resource_type, resource)),
        parent_resource_id,
        display_name: "Any name".to_owned(),
        ..Default::default()
    }
}

/// Asserts that the call was refused with this code and a message that contains all of these texts.
#[track_caller]
pub(crate) fn assert_refused<T>(answer: Result<T, Status>, code: Code, words: &[&str]) -> Status {
    let Err(status) = answer else { panic!("answered, where {code:?} with {words:?} was due") };
    assert_eq!(status.code(), code, "{status:?}");
    for word in words {
        assert!(status.message().contains(word), "no {word:?} in: {}", status.message());
    }
    status
}

/// Repeats `look` until it returns a value; fails after a timeout.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + MAX_WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in {} s: {what}", MAX_WAIT.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A codec that leaves bytes unchanged.
#[derive(Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}
