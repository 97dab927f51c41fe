//! Handwritten HTTP/2: any headers, slow or endless bodies, and unread answers.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use prost::bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// The start of an HTTP/2 connection: the preface and empty settings.
pub(crate) const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// One connection.
#[derive(Clone)]
pub(crate) struct Raw {
    sender: SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
}

/// The end of a call: the gRPC code and message, or `None` if the answer was not gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) http: u16,
    pub(crate) code: Option<String>,
    pub(crate) message: String,
}

impl Raw {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::try_to(address).await.unwrap()
    }

    /// A connection, if the server accepts one.
    pub(crate) async fn try_to(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        // Without this, each request waits for the acknowledgement of an earlier one, which is delayed.
        stream.set_nodelay(true).ok()?;
        Self::over(stream).await
    }

    /// A connection over a stream, if the server accepts it.
    pub(crate) async fn over(stream: TcpStream) -> Option<Self> {
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self { sender })
    }

    /// The result of a call with these headers and this message.
    pub(crate) async fn call(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        message: &impl Message,
    ) -> Result<Ending, hyper::Error> {
        let body = Full::new(framed(&message.encode_to_vec())).boxed_unsync();
        ending(self.begin(path, headers, body).await?).await
    }

    /// The result of a call with these headers and this body.
    pub(crate) async fn send(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Ending, hyper::Error> {
        ending(self.begin(path, headers, Full::new(body).boxed_unsync()).await?).await
    }

    /// A call whose body is sent through the channel. The answer is expected after the channel is closed.
    pub(crate) fn slowly(
        &self,
        path: &str,
    ) -> (mpsc::Sender<Bytes>, impl Future<Output = Result<Ending, hyper::Error>> + use<>) {
        let (pieces, body) = mpsc::channel(1);
        let body = StreamBody::new(ReceiverStream::new(body).map(|piece| Ok(Frame::data(piece))));
        let (this, path) = (self.clone(), path.to_owned());
        (pieces, async move { ending(this.begin(&path, &[], body.boxed_unsync()).await?).await })
    }

    /// The headers of the answer; its body is received while it is read.
    pub(crate) async fn unread(
        &self,
        path: &str,
        message: &impl Message,
    ) -> Result<Response<Incoming>, hyper::Error> {
        self.begin(path, &[], Full::new(framed(&message.encode_to_vec())).boxed_unsync()).await
    }

    async fn begin(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: UnsyncBoxBody<Bytes, Infallible>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut request = Request::post(format!("http://localhost/{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = self.sender.clone();
        sender.ready().await?;
        sender.send_request(request.body(body).unwrap()).await
    }
}

/// An HTTP/2 frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// An uncompressed gRPC frame of a message.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

async fn ending(answer: Response<Incoming>) -> Result<Ending, hyper::Error> {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?;
    let of = |headers: &HeaderMap, name| headers.get(name)?.to_str().ok().map(str::to_owned);
    let trailers = body.trailers().cloned().unwrap_or_default();
    let find = |name| of(&parts.headers, name).or_else(|| of(&trailers, name));
    let message = find("grpc-message").unwrap_or_default();
    Ok(Ending { http: parts.status.as_u16(), code: find("grpc-status"), message })
}
