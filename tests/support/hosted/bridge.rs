//! Lets a gRPC client call a function: each call becomes an event.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use baton_retool::proto::descriptor_pool;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use prost_types::Any;
use tonic::transport::{Channel, Endpoint};

use super::caller::{Answered, Call, Form};
use super::stage::Stage;

const WINDOW: u32 = 8 * 1024 * 1024;

/// A connection on which every call becomes an event with this form.
pub(crate) async fn channel(stage: Arc<Stage>, form: Form) -> Channel {
    let (ours, theirs) = tokio::io::duplex(1024 * 1024);
    let service = tower::service_fn(move |request| answer(Arc::clone(&stage), form, request));
    tokio::spawn(async move {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        // A client that disconnects ends its connection with an error.
        let _ = server.serve_connection(TokioIo::new(theirs), TowerToHyperService::new(service)).await;
    });
    let mut ours = Some(TokioIo::new(ours));
    let connect = move |_| {
        let ours = ours.take().ok_or_else(|| io::Error::other("one connection only"));
        async move { ours }
    };
    Endpoint::from_static("http://function")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_with_connector(tower::service_fn(connect))
        .await
        .unwrap()
}

type Body = StreamBody<tokio_stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

async fn answer(
    stage: Arc<Stage>,
    form: Form,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let (service, method) = path[1..].split_once('/').unwrap();
    let rpc = descriptor_pool().get_service_by_name(service).unwrap();
    let rpc = rpc.methods().find(|rpc| rpc.name() == method).unwrap();
    let frame = body.collect().await.unwrap().to_bytes();
    let request = Any {
        type_url: format!("type.googleapis.com/{}", rpc.input().full_name()),
        value: frame[5..].to_vec(),
    };
    let call = Call { method: path, request: Some(request), headers: Vec::new() };
    let call = call.with("authorization", &[&stage.parts.signer.token()]);
    let answered = Answered::read(&stage.invoke(&call.event(form)).await, form);
    Ok(response(answered))
}

fn response(answered: Answered) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(answered.status.code));
    let visible: String = answered
        .status
        .message
        .chars()
        .filter(|letter| letter.is_ascii_graphic() || *letter == ' ')
        .collect();
    trailers.insert("grpc-message", HeaderValue::try_from(visible.replace('%', "%25")).unwrap());
    let mut frames = Vec::new();
    if let Some(message) = answered.response {
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.value.len()).unwrap());
        framed.put_slice(&message.value);
        frames.push(Ok(Frame::data(framed.freeze())));
    }
    frames.push(Ok(Frame::trailers(trailers)));
    let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
