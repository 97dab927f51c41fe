//! The two forms of events and answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, ListValue, Struct, Timestamp};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::proto::any;
use crate::proto::connector::{
    BatonId, ConnectorMetadata, ConnectorServiceGetMetadataRequest, ConnectorServiceGetMetadataResponse,
    GrantsServiceListGrantsRequest,
};
use crate::proto::ratelimit::RateLimitDescription;
use crate::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use crate::proto::transport::{Request, Response};
use crate::server::lambda::budget;
use crate::server::lambda::event::{Event, EventError, Form};
use crate::server::lambda::headers::{Headers, HeadersError};
use crate::server::lambda::reply::{Answer, Reply};

const METADATA: &str = "/c1.connector.v2.ConnectorService/GetMetadata";
/// A GetMetadata request with the token "T", as the Go SDK encodes it.
const REQUEST: &str = "Ci0vYzEuY29ubmVjdG9yLnYyLkNvbm5lY3RvclNlcnZpY2UvR2V0TWV0YWRhdGESSApGdHlwZS5nb29nbGVhcGlzLmNvbS9jMS5jb25uZWN0b3IudjIuQ29ubmVjdG9yU2VydmljZUdldE1ldGFkYXRhUmVxdWVzdBohCh8KDWF1dGhvcml6YXRpb24SDjIMCgoaCEJlYXJlciBU";
/// The answer to a request without a token, as the Go SDK encodes it.
const REFUSAL: &str =
    "EkkKJXR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5TdGF0dXMSIAgQEhxtaXNzaW5nIGF1dGhvcml6YXRpb24gaGVhZGVy";

/// An event with its decoded request.
#[derive(Debug, PartialEq)]
struct Read {
    method: String,
    request: Option<Any>,
    headers: Option<Headers>,
    form: Form,
}

fn read(event: &Value) -> Result<Read, EventError> {
    read_text(&event.to_string())
}

fn read_text(text: &str) -> Result<Read, EventError> {
    let event = Event::read(text.as_bytes())?;
    let request = event.request()?;
    Ok(Read { method: event.method, request, headers: event.headers, form: event.form })
}

fn legacy(req: Value) -> Value {
    json!({ "method": METADATA, "req": req, "headers": { "Authorization": ["", "Bearer T", 5], "x": "y" } })
}

fn metadata_request() -> Value {
    json!({ "@type": "type.googleapis.com/c1.connector.v2.ConnectorServiceGetMetadataRequest" })
}

#[test]
fn both_forms_of_an_event_give_the_same_call() {
    let frame = read(&json!({ "v": 2, "frame": REQUEST })).unwrap();
    assert_eq!(frame.form, Form::Frame);
    assert_eq!(frame.method, METADATA);
    assert_eq!(frame.request, Some(any(&ConnectorServiceGetMetadataRequest::default())));
    assert_eq!(frame.headers.as_ref().unwrap().first("authorization"), Some("Bearer T"));

    let json = read(&legacy(metadata_request())).unwrap();
    assert_eq!(json.form, Form::Json);
    assert_eq!(json.request, frame.request);
    assert_eq!(json.headers.as_ref().unwrap().first("authorization"), Some("Bearer T"));
    assert_eq!(json.headers.as_ref().unwrap().first("x"), None);

    let mut dual = legacy(json!({ "@type": "type.googleapis.com/no.Such" }));
    dual["v"] = 2.into();
    dual["frame"] = REQUEST.into();
    assert_eq!(read(&dual).unwrap(), frame);
    assert_eq!(Request::decode(&STANDARD.decode(REQUEST).unwrap()[..]).unwrap().method, METADATA);
}

#[test]
fn headers_of_a_frame_follow_the_same_rules_as_those_of_json() {
    let list = |values| Some(Kind::ListValue(ListValue { values }));
    let text = |text: &str| prost_types::Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let of = |kind| prost_types::Value { kind };
    let fields = [
        (
            "X-List",
            list(vec![text(""), of(Some(Kind::NumberValue(5.0))), of(list(vec![text("z")])), text("y")]),
        ),
        ("x-empty", list(vec![text("")])),
        ("x-text", Some(Kind::StringValue("y".to_owned()))),
        ("x-number", Some(Kind::NumberValue(7.0))),
        ("x-object", Some(Kind::StructValue(Struct::default()))),
        ("x-null", Some(Kind::NullValue(0))),
        ("x-nothing", None),
    ];
    let fields = fields.into_iter().map(|(name, kind)| (name.to_owned(), of(kind))).collect();
    let framed = Headers::of_struct(&Struct { fields }.encode_to_vec()).unwrap();
    let json = json!({
        "X-List": ["", 5, ["z"], "y"], "x-empty": [""], "x-text": "y", "x-number": 7, "x-object": {}, "x-null": null,
    });
    let written = Headers::of_json(&json.to_string()).unwrap().unwrap();
    for headers in [framed, written] {
        let passed = headers.for_services();
        let passed: Vec<_> = passed.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(passed, [("x-list", &b"y"[..])]);
        assert_eq!(headers.first("x-list"), Some("y"));
        for name in ["X-List", "x-empty", "x-text", "x-number", "x-object", "x-null", "x-nothing"] {
            assert_eq!(headers.first(name), None, "{name}");
        }
    }
}

#[test]
fn an_event_with_an_invalid_frame_is_read_as_json() {
    for frame in [json!("not base64"), json!(""), json!(null), json!(7), json!(["x"])] {
        for v in [json!(2), json!(3), json!(null)] {
            let mut event = legacy(metadata_request());
            event["v"] = v;
            event["frame"] = frame.clone();
            assert_eq!(read(&event).unwrap().form, Form::Json, "{event}");
        }
    }
    let wrong = |v: Value| read(&json!({ "v": v, "frame": REQUEST })).unwrap_err().to_string();
    assert_eq!(wrong(json!(3)), "transport: unsupported wire frame version 3");
    assert_eq!(read(&json!({ "frame": REQUEST })).unwrap_err(), EventError::Version(0));
    assert_eq!(read(&json!({ "v": 2, "frame": "/////w==" })).unwrap_err(), EventError::Frame);
}

#[test]
fn an_event_without_headers_is_not_an_error() {
    for text in ["", "[]", "{", "7", "\"x\"", "{}x"] {
        assert!(matches!(Event::read(text.as_bytes()), Err(EventError::NoObject(_))), "{text}");
    }
    assert!(matches!(Event::read(b"\xff{}"), Err(EventError::NoObject(None))));
    for text in ["null", "{}", " {} ", r#"{"headers":null}"#] {
        assert_eq!(Event::read(text.as_bytes()).unwrap().headers, None, "{text}");
    }
    assert_eq!(Event::read(br#"{"headers":{}}"#).unwrap().headers, Some(Headers::default()));
    assert_eq!(Event::read(br#"{"headers":[]}"#).unwrap_err(), EventError::Headers(HeadersError::NoObject));
    let unknown = read(&legacy(json!({ "@type": "type.googleapis.com/no.Such" })));
    assert!(matches!(unknown, Err(EventError::Request(_))), "{unknown:?}");
    assert_eq!(read(&legacy(json!({}))).unwrap().request, Some(Any::default()));
    assert_eq!(read(&legacy(json!(null))).unwrap().request, None);
}

#[test]
fn ignores_unknown_fields_and_annotations() {
    let request = |annotations: Value| {
        legacy(json!({
            "@type": "type.googleapis.com/c1.connector.v2.GrantsServiceListGrantsRequest",
            "pageSize": 7, "page_token": "t", "noSuchField": { "a": [1] },
            "resource": { "id": { "resourceType": "group", "resource": "g1" }, "annotations": annotations },
            "annotations": annotations,
        }))
    };
    let unpacked = |event: &Value| {
        let packed = read(event).unwrap().request.unwrap();
        GrantsServiceListGrantsRequest::decode(&packed.value[..]).unwrap()
    };
    let known = json!({ "@type": "type.googleapis.com/c1.connector.v2.BatonID" });
    let both = json!([known, { "@type": "type.googleapis.com/no.Such", "a": 1 }, { "a": 1 }]);
    let read_back = unpacked(&request(both));
    assert_eq!((read_back.page_size, read_back.page_token.as_str()), (7, "t"));
    assert_eq!(read_back.annotations, [any(&BatonId::default())]);
    assert_eq!(read_back.resource.unwrap().annotations, [any(&BatonId::default())]);
    // These objects have no type anywhere, so they are not packed messages and none is dropped.
    assert!(matches!(read(&request(json!([{ "a": 1 }]))), Err(EventError::Request(_))));
}

#[test]
fn answers_have_the_form_of_the_call() {
    let refusal = Reply::Refusal(Status::unauthenticated("missing authorization header"));
    let text = String::from_utf8(refusal.write(Form::Frame).unwrap()).unwrap();
    assert_eq!(text, format!(r#"{{"v":2,"frame":"{REFUSAL}"}}"#));
    let text = String::from_utf8(refusal.write(Form::Json).unwrap()).unwrap();
    let status = r#"{"@type":"type.googleapis.com/google.rpc.Status","code":16,"message":"missing authorization header"}"#;
    assert_eq!(text, format!(r#"{{"status":{status}}}"#));

    let metadata = ConnectorMetadata { display_name: "<Retool>".to_owned(), ..Default::default() };
    let message = any(&ConnectorServiceGetMetadataResponse { metadata: Some(metadata) });
    let mut headers = HeaderMap::new();
    headers.append("x-a", "1".parse().unwrap());
    headers.append("x-a", "2".parse().unwrap());
    let answer = Answer { message: message.clone(), headers, trailers: HeaderMap::new() };
    let answer = Reply::Answer(Box::new(answer));
    let text = String::from_utf8(answer.write(Form::Json).unwrap()).unwrap();
    assert_eq!(
        text,
        r#"{"resp":{"@type":"type.googleapis.com/c1.connector.v2.ConnectorServiceGetMetadataResponse","metadata":{"displayName":"<Retool>"}},"status":{"@type":"type.googleapis.com/google.rpc.Status","message":"OK"},"headers":{"x-a":["1","2"]},"trailers":{}}"#
    );
    let framed: Value = serde_json::from_slice(&answer.write(Form::Frame).unwrap()).unwrap();
    let response =
        Response::decode(&STANDARD.decode(framed["frame"].as_str().unwrap()).unwrap()[..]).unwrap();
    assert_eq!(response.resp, Some(message));
    assert_eq!(response.headers.unwrap().fields.len(), 1);
}

#[test]
fn json_answers_have_long_numbers_as_text_enums_by_name_and_no_defaults() {
    let limit = RateLimitDescription {
        status: LimitStatus::Overlimit.into(),
        limit: 9_007_199_254_740_993,
        reset_at: Some(Timestamp { seconds: 1_767_323_045, nanos: 0 }),
        ..Default::default()
    };
    let expected = r#"{"@type":"type.googleapis.com/c1.ratelimit.v1.RateLimitDescription","status":"STATUS_OVERLIMIT","limit":"9007199254740993","resetAt":"2026-01-02T03:04:05Z"}"#;
    let answer = Answer { message: any(&limit), headers: HeaderMap::new(), trailers: HeaderMap::new() };
    let text = String::from_utf8(Reply::Answer(Box::new(answer)).write(Form::Json).unwrap()).unwrap();
    assert!(text.starts_with(&format!(r#"{{"resp":{expected},"#)), "{text}");
    // As a detail of an error it has the same form.
    let status = pb::Status { code: 14, message: "busy".to_owned(), details: vec![any(&limit)] };
    let busy = Status::with_details(Code::Unavailable, "busy", status.encode_to_vec().into());
    let text = String::from_utf8(Reply::Refusal(busy).write(Form::Json).unwrap()).unwrap();
    assert!(text.ends_with(&format!(r#""message":"busy","details":[{expected}]}}}}"#)), "{text}");
}

#[test]
fn details_of_a_status_are_written_in_both_forms() {
    let details = ErrorDetails::with_bad_request_violation("page_size", "too large");
    let refusal = Reply::Refusal(Status::with_error_details(Code::InvalidArgument, "no", details));
    let text: Value = serde_json::from_slice(&refusal.write(Form::Json).unwrap()).unwrap();
    assert_eq!(text["status"]["details"][0]["@type"], "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(text["status"]["details"][0]["fieldViolations"][0]["field"], "page_size");
    assert_eq!(text["status"]["code"], 3);
}

#[test]
fn an_answer_with_an_unknown_message_fails_as_json_but_not_as_frame() {
    let mut message = any(&ConnectorServiceGetMetadataResponse {
        metadata: Some(ConnectorMetadata {
            annotations: vec![Any { type_url: "type.googleapis.com/no.Such".to_owned(), value: vec![] }],
            ..Default::default()
        }),
    });
    let reply = |message| {
        Reply::Answer(Box::new(Answer { message, headers: HeaderMap::new(), trailers: HeaderMap::new() }))
    };
    assert!(reply(message.clone()).write(Form::Json).is_err());
    assert!(reply(message.clone()).write(Form::Frame).is_ok());
    // An answer that is too large for Lambda becomes a refusal.
    message.value = ConnectorServiceGetMetadataResponse {
        metadata: Some(ConnectorMetadata { display_name: "x".repeat(6 * 1024 * 1024), ..Default::default() }),
    }
    .encode_to_vec();
    for form in [Form::Json, Form::Frame] {
        let written = reply(message.clone()).write(form).unwrap();
        assert!(written.len() < 1000);
    }
}

#[test]
fn rejects_oversized_events_before_they_are_decoded() {
    let many = format!("[{}0]", "0,".repeat(200_000));
    assert_eq!(budget::check(&many), Err(budget::Excess::Elements));
    assert_eq!(budget::check(&"[".repeat(101)), Err(budget::Excess::Depth));
    assert_eq!(budget::check(&format!("\"{}\"", "[,\\\"".repeat(200_000))), Ok(()));
    assert_eq!(budget::check(r#"{"a":[1,2,{"b":"\"["}]}"#), Ok(()));
    let deep = format!(r#"{{"headers":{{}},"req":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert!(matches!(read_text(&deep), Err(EventError::NoObject(_) | EventError::Depth)));
    let long = json!({ "headers": { "x": ["y".repeat(70_000)] } });
    assert_eq!(read(&long).unwrap_err(), EventError::Headers(HeadersError::TooLarge));
    // Many small values in the headers of a frame.
    let headers: Vec<u8> = [10, 0].repeat(40_000);
    assert_eq!(Headers::of_struct(&headers), Err(HeadersError::TooLarge));
}
