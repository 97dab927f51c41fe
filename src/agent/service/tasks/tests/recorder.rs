//! A connector that records each request and answers with the next of the given responses.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn as handler;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// The size of the header of a gRPC message.
const HEAD: usize = 5;
/// The buffer of a connection in bytes, per direction.
const BUFFER: usize = 1 << 16;

/// The connector.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    responses: VecDeque<Bytes>,
    /// The method and the message of each request.
    requests: Vec<(String, Bytes)>,
}

impl Recorder {
    /// Answers with this response, after those that were added before.
    pub(super) fn and(self, response: &impl Message) -> Self {
        let message = response.encode_to_vec();
        let mut framed = BytesMut::with_capacity(HEAD + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap());
        framed.put_slice(&message);
        self.0.lock().unwrap().responses.push_back(framed.freeze());
        self
    }

    /// A connection to the connector.
    pub(super) async fn channel(&self) -> Channel {
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        let recorder = self.clone();
        let answer = handler(move |request| recorder.clone().answer(request));
        let serving =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(theirs), answer);
        tokio::spawn(serving);
        let mut ours = Some(TokioIo::new(ours));
        let connect = move |_| {
            let ours = ours.take().ok_or_else(|| std::io::Error::other("there is one connection only"));
            async move { ours }
        };
        Endpoint::from_static("http://recorder").connect_with_connector(service_fn(connect)).await.unwrap()
    }

    /// The methods that were called.
    pub(super) fn methods(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.iter().map(|(method, _)| method.clone()).collect()
    }

    /// The requests, all of which call this method.
    #[track_caller]
    pub(super) fn requests<M: Message + Default>(&self, method: &str) -> Vec<M> {
        let inner = self.0.lock().unwrap();
        let of = |(called, message): &(String, Bytes)| {
            assert_eq!(called, method);
            M::decode(message.clone()).unwrap()
        };
        inner.requests.iter().map(of).collect()
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<
        Response<StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, Infallible>>>>,
        hyper::Error,
    > {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let message = request.into_body().collect().await?.to_bytes().split_off(HEAD);
        let response = {
            let mut inner = self.0.lock().unwrap();
            inner.requests.push((method, message));
            inner.responses.pop_front()
        };
        let code = if response.is_some() { "0" } else { "12" };
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(code))]);
        let frames = response.map(Frame::data).into_iter().chain([Frame::trailers(trailers)]);
        let body = StreamBody::new(stream::iter(frames.map(Ok)));
        let mut answer = Response::new(body);
        answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        Ok(answer)
    }
}
