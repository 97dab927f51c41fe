//! Events that are handled by the function, with test services.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use prost_types::Any;
use serde_json::{Value, json};
use time::macros::datetime;
use tonic::body::Body;
use tower::service_fn;
use tower::util::BoxCloneService;

use crate::connector::{Connector, Options};
use crate::postgres::connection_string::{ConnectionSettings, Environment};
use crate::postgres::pool::Timeouts;
use crate::proto::connector::{ConnectorMetadata, ConnectorServiceGetMetadataResponse};
use crate::retool::database::Database;
use crate::retool::privileges::Scope;
use crate::server::InMemory;
use crate::server::lambda::callers::{Callers, KeySet};
use crate::server::lambda::function::{Configurations, DebugUntil, Function, Generation, Outcome};
use crate::server::lambda::runtime::{Invocation, outcome};
use crate::server::lambda::tests::callers::{claims, ed25519, token};
use crate::telemetry::settings::LogLevel;

/// The only configuration.
pub(super) struct Nothing;

impl Configurations for Nothing {
    async fn generation(&self, version: &str) -> Result<Generation, String> {
        Err(format!("there is no {version}"))
    }
}

/// A function with these services, and a valid token for it.
pub(super) fn function(calls: InMemory) -> (Function<Nothing>, String) {
    function_of(generation("cv-1", calls), Nothing)
}

/// A function with this connector and these configurations, and a valid token for it.
pub(super) fn function_of<C: Configurations>(
    generation: Generation,
    configurations: C,
) -> (Function<C>, String) {
    let (jwk, sign) = ed25519(7, None);
    let keys = KeySet::of_key(&jwk.to_string()).unwrap();
    let callers = Callers::new(keys, "issuer", "subject", "audience");
    let function = Function::new(callers, configurations, generation);
    (function, token(&json!({ "alg": "EdDSA" }), &claims(), &sign))
}

/// A connector of this version with these services.
pub(super) fn generation(version: &str, calls: InMemory) -> Generation {
    let url = "postgres://baton@127.0.0.1:1/retool".to_owned();
    let connection = ConnectionSettings::parse(&url.into(), &Environment::of_process()).unwrap();
    let database = Database::new(connection, Timeouts::DEFAULT, Scope::DEFAULT).unwrap();
    let connector = Arc::new(Connector::new(Arc::new(database), None, Options::DEFAULT));
    let logs = DebugUntil { level: LogLevel::Info, until: None };
    Generation { version: version.to_owned(), connector, calls, logs }
}

pub(super) fn event(token: &str) -> Value {
    json!({
        "method": "/c1.connector.v2.ConnectorService/GetMetadata",
        "req": { "@type": "type.googleapis.com/c1.connector.v2.ConnectorServiceGetMetadataRequest" },
        "headers": {
            "authorization": [token], "X-One": ["1", "2"], "grpc-encoding": ["gzip"], "content-type": ["text/html"],
            ":path": ["/elsewhere"], "not a name": ["x"], "x-odd": ["a\nb"],
        },
    })
}

pub(super) fn invocation(event: &Value) -> Invocation {
    Invocation {
        id: "1".to_owned(),
        deadline: Some(SystemTime::now() + Duration::from_secs(60)),
        event: Some(Bytes::from(event.to_string())),
    }
}

pub(super) fn written(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Reply(bytes) => serde_json::from_slice(&bytes).unwrap(),
        error => panic!("{error:?}"),
    }
}

/// An answer with this message and these trailers.
pub(super) fn answer(
    message: &ConnectorServiceGetMetadataResponse,
    trailers: &[(&'static str, &str)],
) -> Response<Body> {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap();
    let framed = [&[0][..], &length.to_be_bytes(), &encoded].concat();
    let mut map = HeaderMap::new();
    for (name, value) in trailers {
        map.insert(*name, value.parse().unwrap());
    }
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(map))];
    let mut response = Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
    response.headers_mut().insert("x-from-service", "yes".parse().unwrap());
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

pub(super) fn answering(
    make: impl Fn() -> Response<Body> + Clone + Send + 'static,
    seen: &Arc<Mutex<Option<Request<()>>>>,
) -> InMemory {
    let seen = Arc::clone(seen);
    BoxCloneService::new(service_fn(move |request: Request<Body>| {
        *seen.lock().unwrap() = Some(request.map(drop));
        let response = make();
        async move { Ok::<_, Infallible>(response) }
    }))
}

#[tokio::test]
async fn passes_headers_to_the_service_and_its_headers_to_the_caller() {
    let seen = Arc::default();
    let calls = answering(
        || {
            let trailers = [("grpc-status", "0"), ("x-trailer", "last")];
            answer(&ConnectorServiceGetMetadataResponse::default(), &trailers)
        },
        &seen,
    );
    let (mut function, token) = function(calls);
    let reply = written(outcome(&mut function, &invocation(&event(&token))).await);
    assert_eq!(reply["headers"], json!({ "x-from-service": ["yes"] }));
    assert_eq!(reply["trailers"], json!({ "x-trailer": ["last"] }));
    let request = seen.lock().unwrap().take().unwrap();
    assert_eq!(request.uri().path(), "/c1.connector.v2.ConnectorService/GetMetadata");
    let headers = request.headers();
    assert_eq!(headers.get_all("x-one").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(headers["content-type"], "application/grpc");
    let timeout = headers["grpc-timeout"].to_str().unwrap();
    let milliseconds: u32 = timeout.strip_suffix('m').unwrap().parse().unwrap();
    assert!((1_000..=60_000).contains(&milliseconds), "{timeout}");
    for absent in ["authorization", "grpc-encoding", "x-odd"] {
        assert_eq!(headers.get(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_the_function_continues() {
    let calls = BoxCloneService::new(service_fn(|_: Request<Body>| async {
        if true {
            panic!("hunter2");
        }
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    let (mut function, token) = function(calls);
    for _ in 0..2 {
        let reply = written(outcome(&mut function, &invocation(&event(&token))).await);
        assert_eq!((&reply["status"]["code"], reply.get("resp")), (&json!(13), None));
        assert_eq!(reply["status"]["message"], "Internal Server Error");
    }
}

#[tokio::test]
async fn unencodable_answers_are_errors_and_broken_answers_are_refusals() {
    let unknown = Any { type_url: "type.googleapis.com/no.Such".to_owned(), value: vec![8, 1] };
    let metadata = ConnectorMetadata { annotations: vec![unknown], ..Default::default() };
    let message = ConnectorServiceGetMetadataResponse { metadata: Some(metadata) };
    let seen = Arc::default();
    let (mut function, token) = function(answering(move || answer(&message, &[("grpc-status", "0")]), &seen));
    match outcome(&mut function, &invocation(&event(&token))).await {
        Outcome::Error { message, kind: "MarshalerError" } => {
            assert!(message.contains("no.Such"), "{message}")
        }
        other => panic!("{other:?}"),
    }
    let code = async |make: fn() -> Response<Body>| {
        let (mut function, token) = self::function(answering(make, &Arc::default()));
        written(outcome(&mut function, &invocation(&event(&token))).await)["status"]["code"].clone()
    };
    assert_eq!(code(|| Response::new(Body::empty())).await, 13);
    assert_eq!(code(|| answer(&ConnectorServiceGetMetadataResponse::default(), &[])).await, 13);
    assert_eq!(
        code(|| {
            let mut response = Response::new(Body::empty());
            response.headers_mut().insert("grpc-status", "0".parse().unwrap());
            response
        })
        .await,
        13
    );
    assert_eq!(
        code(|| answer(&ConnectorServiceGetMetadataResponse::default(), &[("grpc-status", "8")])).await,
        8
    );
}

#[tokio::test]
async fn rejects_an_invocation_without_a_deadline_or_an_event() {
    let (mut function, token) = function(answering(|| Response::new(Body::empty()), &Arc::default()));
    let mut kind = async |change: fn(&mut Invocation)| {
        let mut invocation = invocation(&event(&token));
        change(&mut invocation);
        match outcome(&mut function, &invocation).await {
            Outcome::Error { kind, .. } => kind,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(kind(|invocation| invocation.deadline = None).await, "InvalidDeadline");
    assert_eq!(kind(|invocation| invocation.event = None).await, "InvalidEvent");
    assert_eq!(kind(|invocation| invocation.event = Some(Bytes::new())).await, "InvalidEvent");
}

#[test]
fn debug_logs_end_at_their_time_and_other_levels_do_not() {
    let until = datetime!(2026-01-31 12:00:00 UTC);
    let second = Duration::from_secs(1);
    let level = |level, until, now| DebugUntil { level, until }.level_at(now);
    assert_eq!(level(LogLevel::Debug, Some(until), until - second), LogLevel::Debug);
    assert_eq!(level(LogLevel::Debug, Some(until), until), LogLevel::Info);
    assert_eq!(level(LogLevel::Debug, None, until + second), LogLevel::Debug);
    assert_eq!(level(LogLevel::Warn, Some(until), until + second), LogLevel::Warn);
}
