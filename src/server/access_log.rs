//! One log line per call, when it has ended: what was called, by whom, how it ended and why, how long it
//! took.
//! Field names and levels are those of the former program (spec, child process 9).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Wraps a service so that its calls are logged.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessLogLayer;

/// See [`AccessLogLayer`].
#[derive(Debug, Clone)]
pub(super) struct AccessLog<S>(S);

/// One call. It is logged when dropped, so that a call that the client broke off is logged too.
struct Call {
    path: String,
    peer: String,
    started: Instant,
    status: Status,
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> AccessLog<S> {
        AccessLog(inner)
    }
}

impl<S, B> Service<Request<Body>> for AccessLog<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        let mut call = Call {
            path: request.uri().path().to_owned(),
            peer: peer.map(|address| address.to_string()).unwrap_or_default(),
            started: Instant::now(),
            status: Status::cancelled("the caller broke the call off"),
        };
        let response = self.0.call(request);
        Box::pin(async move {
            let (parts, body) = response.await?.into_parts();
            // An answer without a body carries its status in the headers.
            if let Some(status) = Status::from_header_map(&parts.headers) {
                call.status = status;
            }
            let body = Logged { body: body.map_err(Into::into).boxed_unsync(), call };
            Ok(Response::from_parts(parts, Body::new(body)))
        })
    }
}

/// An answer's body, watched for the status at its end.
struct Logged {
    body: http_body_util::combinators::UnsyncBoxBody<Bytes, tower::BoxError>,
    call: Call,
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = tower::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, tower::BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref());
        if let Some(status) = trailers.and_then(Status::from_header_map) {
            self.call.status = status;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let (service, method) =
            self.path.trim_start_matches('/').rsplit_once('/').unwrap_or((self.path.as_str(), ""));
        let milliseconds = self.started.elapsed().as_secs_f64() * 1000.0;
        let code = self.status.code();
        // A field that is absent on success, where there is nothing to say.
        let error = (code != Code::Ok).then(|| self.status.message());
        macro_rules! log {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    grpc.service = service,
                    grpc.method = method,
                    grpc.code = ?code,
                    grpc.time_ms = milliseconds,
                    peer.address = self.peer,
                    error,
                    "finished call"
                )
            };
        }
        match code {
            Code::Ok => log!(tracing::Level::DEBUG),
            Code::Cancelled
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Unauthenticated => log!(tracing::Level::INFO),
            Code::DeadlineExceeded
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable => log!(tracing::Level::WARN),
            Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
                log!(tracing::Level::ERROR);
            }
        }
    }
}
