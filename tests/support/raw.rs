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

// Types of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
// Flags of frames.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One connection.
#[derive(Clone)]
pub(crate) struct Raw {
    sender: SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
    /// The bearer token of every call, if any.
    token: Option<&'static str>,
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
        Some(Self { sender, token: None })
    }

    /// The same connection with this bearer token on every call.
    // Only the soak benchmark needs it.
    #[allow(dead_code)]
    pub(crate) fn with_token(self, token: &'static str) -> Self {
        Self { token: Some(token), ..self }
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
        if let Some(token) = self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
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

/// A length in HPACK, with seven bits in its first byte.
pub(crate) fn hpack_length(mut length: usize) -> Vec<u8> {
    if length < 127 {
        return vec![u8::try_from(length).unwrap()];
    }
    let mut encoded = vec![127];
    length -= 127;
    while length >= 128 {
        encoded.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    encoded.push(u8::try_from(length).unwrap());
    encoded
}

/// The headers of a gRPC call in HPACK, without compression. Only the authority is added to the table.
pub(crate) fn call_headers(path: &str, others: &[(&str, &str)]) -> Vec<u8> {
    // POST and http are in the static table of HPACK, and so are the names of the authority and the path.
    let mut headers = vec![0x83, 0x86, 0x41, 1, b'a', 0x04];
    headers.extend(hpack_length(path.len()));
    headers.extend(path.as_bytes());
    for (name, value) in [("content-type", "application/grpc")].iter().chain(others) {
        headers.push(0);
        headers.extend(hpack_length(name.len()));
        headers.extend(name.as_bytes());
        headers.extend(hpack_length(value.len()));
        headers.extend(value.as_bytes());
    }
    headers
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
