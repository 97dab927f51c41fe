//! Makes one call of a service in memory.

use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use prost_reflect::MethodDescriptor;
use prost_types::Any;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::proto::descriptor_pool;
use crate::proto::log_text::logged_in_full;
use crate::server::InMemory;
use crate::server::lambda::headers::Headers;
use crate::server::lambda::reply::{Answer, Reply};
use crate::server::services;

/// Length of the prefix of a gRPC message: a flag for compression and the length.
const PREFIX: usize = 5;
/// Prefix of type URLs.
const TYPE_PREFIX: &str = "type.googleapis.com/";
/// The service that only the child process of an agent has.
const ONLY_OF_CHILDREN: &str = "c1.ratelimit.v1.RateLimiterService";
/// Response headers of HTTP and gRPC, which are not returned.
const OF_HTTP: [&str; 4] = ["content-type", "content-length", "date", "grpc-encoding"];

/// A call with a decoded request.
pub(super) struct Call<'a> {
    /// The method as written by the caller.
    pub(super) method: &'a str,
    /// `None` if the event has none.
    pub(super) request: Option<Any>,
    pub(super) headers: &'a Headers,
    /// The end of the invocation.
    pub(super) deadline: SystemTime,
}

/// Makes a call.
pub(super) async fn answer(calls: InMemory, call: Call<'_>) -> Reply {
    match prepared(call) {
        Ok((request, method)) => made(calls, request, &method).await,
        Err(refusal) => Reply::Refusal(refusal),
    }
}

/// Builds the HTTP request of the call. The checks have the order of the Go SDK, which decides which error a
/// caller gets.
fn prepared(call: Call<'_>) -> Result<(Request<Body>, MethodDescriptor), Status> {
    let Call { method, request, headers, deadline } = call;
    let method = find(method)?;
    let requested = headers.first("grpc-timeout").map(timeout).transpose()?;
    let message = request_of(&method, request)?;
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let left = requested.map_or(left, |requested| requested.min(left));
    if left.is_zero() {
        return Err(logged_in_full(Status::deadline_exceeded("the deadline passed before the call started")));
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let mut request = Request::post(path)
        .body(Body::new(Full::new(framed(&message))))
        .map_err(|error| Status::internal(error.to_string()))?;
    *request.headers_mut() = headers.for_services();
    let own = request.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    own.insert(header::TE, HeaderValue::from_static("trailers"));
    own.insert("grpc-timeout", in_header(left));
    Ok((request, method))
}

async fn made(calls: InMemory, request: Request<Body>, method: &MethodDescriptor) -> Reply {
    let (parts, body) = match calls.oneshot(request).await {
        Ok(response) => response.into_parts(),
        Err(never) => match never {},
    };
    let collected = match body.collect().await {
        Ok(collected) => collected,
        Err(status) => return Reply::Refusal(status),
    };
    let mut trailers = collected.trailers().cloned().unwrap_or_default();
    // A response without a body has its status in the headers.
    let status = Status::from_header_map(&trailers).or_else(|| Status::from_header_map(&parts.headers));
    match status {
        Some(status) if status.code() == Code::Ok => {}
        Some(status) => return Reply::Refusal(status),
        None => return Reply::Refusal(Status::internal("the service returned no status")),
    }
    let Some(value) = unframed(collected.to_bytes()) else {
        return Reply::Refusal(Status::internal("the service returned no message"));
    };
    let type_url = format!("{TYPE_PREFIX}{}", method.output().full_name());
    let mut headers = parts.headers;
    remove_protocol_headers(&mut headers);
    remove_protocol_headers(&mut trailers);
    Reply::Answer(Box::new(Answer { message: Any { type_url, value: value.into() }, headers, trailers }))
}

/// Finds the method with this name in a registered service.
fn find(name: &str) -> Result<MethodDescriptor, Status> {
    let unimplemented = |text: String| Err(Status::unimplemented(text));
    let path = name.strip_prefix('/').unwrap_or(name);
    let Some((service, method)) = path.rsplit_once('/') else {
        return unimplemented(format!("malformed method name: {:?}", shown(name)));
    };
    let is_registered = service != ONLY_OF_CHILDREN && services::names().any(|known| known == service);
    let known = descriptor_pool().get_service_by_name(service).filter(|_| is_registered);
    let Some(known) = known else { return unimplemented(format!("unknown service {}", shown(service))) };
    let found = known.methods().find(|rpc| rpc.name() == method);
    // An event has one request and one answer.
    match found.filter(|rpc| !rpc.is_server_streaming() && !rpc.is_client_streaming()) {
        Some(method) => Ok(method),
        None => unimplemented(format!("unknown method {}", shown(method))),
    }
}

/// The beginning of a name, for a message: a caller can send megabytes.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

/// Encodes the request of a call.
fn request_of(method: &MethodDescriptor, packed: Option<Any>) -> Result<Vec<u8>, Status> {
    let failed = |reason: String| Status::internal(format!("failed to unmarshal request: {reason}"));
    let packed = packed.ok_or_else(|| failed("the event has none".to_owned()))?;
    let name = packed.type_url.rsplit('/').next().unwrap_or_default();
    let wanted = method.input();
    if name != wanted.full_name() {
        return Err(failed(format!("its type is not {}", wanted.full_name())));
    }
    Ok(packed.value)
}

/// Parses a `grpc-timeout`: one to eight digits and a unit.
fn timeout(text: &str) -> Result<Duration, Status> {
    let wrong = |reason: &str| Status::internal(format!("malformed grpc-timeout: {reason}"));
    let (digits, unit) = text
        .len()
        .checked_sub(1)
        .and_then(|end| text.split_at_checked(end))
        .ok_or_else(|| wrong("it needs a number and a unit"))?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("the number needs one to eight digits"));
    }
    let number: u64 = digits.parse().map_err(|_| wrong("the number is invalid"))?;
    Ok(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(wrong("the unit must be H, M, S, m, u or n")),
    })
}

/// Formats a `grpc-timeout`.
fn in_header(time: Duration) -> HeaderValue {
    const LIMIT: u128 = 99_999_999;
    let text = if time.as_millis() <= LIMIT {
        // At least 1 ms: zero would end the call before it starts.
        format!("{}m", time.as_millis().max(1))
    } else {
        format!("{}S", u128::from(time.as_secs()).min(LIMIT))
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("1S"))
}

/// Adds the gRPC prefix to a message.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    // An event is far shorter than 4 GiB.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// The message of a response. It is not compressed, because the request accepts no encoding.
fn unframed(mut frame: Bytes) -> Option<Bytes> {
    if frame.len() < PREFIX || frame.get_u8() != 0 {
        return None;
    }
    let length = usize::try_from(frame.get_u32()).ok()?;
    (frame.len() == length).then_some(frame)
}

fn remove_protocol_headers(headers: &mut HeaderMap) {
    for name in OF_HTTP.into_iter().chain(["grpc-status", "grpc-message", "grpc-status-details-bin"]) {
        headers.remove(name);
    }
}
