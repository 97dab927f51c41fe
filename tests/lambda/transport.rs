//! Events and their answers, for a caller with a valid token.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use baton_retool::proto::connector::{
    AssetServiceGetAssetRequest, BatonId, ConnectorServiceGetMetadataRequest,
    ConnectorServiceGetMetadataResponse, ConnectorServiceValidateRequest, Entitlement,
    GrantManagerServiceGrantRequest, GrantsServiceListGrantsRequest, Resource, ResourceId,
    ResourceTypesServiceListResourceTypesRequest, ResourcesServiceListResourcesRequest,
    TicketsServiceListTicketSchemasRequest,
};
use baton_retool::proto::ratelimit::DoRequest;
use baton_retool::proto::{any, transport};
use prost::Message;
use prost_types::Any;
use serde_json::{Value, json};
use tonic_types::pb;

use crate::support::hosted::Config;
use crate::support::hosted::caller::{Answered, Call, Form, as_json};
use crate::support::hosted::stage::{NOWHERE, Parts, Stage};

const METADATA: &str = "ConnectorService/GetMetadata";

fn metadata() -> Call {
    Call::of(METADATA, &ConnectorServiceGetMetadataRequest::default())
}

async fn works(stage: &Stage, form: Form) {
    let answer: ConnectorServiceGetMetadataResponse = stage.make(metadata(), form).await.message();
    assert_eq!(answer.metadata.unwrap().display_name, "Retool");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_form_of_its_call() {
    let stage = Stage::nowhere().await;
    let mut answers = Vec::new();
    for form in Form::ALL {
        works(&stage, form).await;
        let answered = stage.make(metadata(), form).await;
        assert!(answered.headers);
        // Compared as JSON, because the order of map entries has no meaning.
        answers.push(as_json(answered.response.as_ref().unwrap()));
        // Refusals have the form of the call as well.
        stage.make_as(metadata(), form).await.assert_failed(16, "missing authorization header");
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[1], answers[2]);
    // If the frame is not base64, the other form is used; a frame with an unsupported version is an error.
    let token = stage.parts.signer.token();
    let mut event = metadata().with("authorization", &[&token]).event(Form::Dual);
    for frame in ["", "not base64"] {
        event["frame"] = frame.into();
        let _: ConnectorServiceGetMetadataResponse =
            Answered::read(&stage.invoke(&event).await, Form::Json).message();
    }
    // The exact bytes of a JSON answer.
    let posted = stage.invoke(&metadata().with("authorization", &[&token]).event(Form::Json)).await;
    let text = posted.json().to_string();
    assert!(text.starts_with(
        r#"{"resp":{"@type":"type.googleapis.com/c1.connector.v2.ConnectorServiceGetMetadataResponse","#
    ));
    assert!(text.ends_with(r#""status":{"@type":"type.googleapis.com/google.rpc.Status","message":"OK"},"headers":{},"trailers":{}}"#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_a_call_is_an_error_and_the_function_continues() {
    let stage = Stage::nowhere().await;
    let frame =
        |version: i32, bytes: &[u8]| json!({ "v": version, "frame": STANDARD.encode(bytes) }).to_string();
    let request = transport::Request { method: "/a/b".to_owned(), ..Default::default() }.encode_to_vec();
    let token = stage.parts.signer.token();
    let with_request =
        |request: Value| json!({ "req": request, "headers": { "authorization": [token] } }).to_string();
    for (event, word) in [
        (String::new(), "is not a JSON object"),
        ("no JSON".to_owned(), "is not a JSON object"),
        ("[]".to_owned(), "is not a JSON object"),
        ("{\"method\":".to_owned(), "is not a JSON object"),
        (json!({ "method": 7, "headers": {} }).to_string(), "method is not a string"),
        (json!({ "headers": "x" }).to_string(), "headers are not an object"),
        (with_request(json!({ "@type": "type.googleapis.com/no.Such" })), "no.Such"),
        (with_request(json!({ "@type": 7 })), "cannot be read"),
        (frame(3, &request), "transport: unsupported wire frame version 3"),
        (frame(2, b"\xff\xff"), "the frame does not decode"),
    ] {
        let posted = stage.parts.lambda.invoke(event.clone()).await;
        let (message, kind) = posted.error();
        assert!(kind == "InvalidEvent" && message.contains(word), "{event}: {message}");
        works(&stage, Form::Frame).await;
    }
    for deadline in [None, Some("soon"), Some("-1"), Some("")] {
        let event = metadata().with("authorization", &[&stage.parts.signer.token()]).event(Form::Json);
        let posted = stage.parts.lambda.invoke_until(deadline, event.to_string()).await;
        assert_eq!(posted.error().1, "InvalidDeadline");
    }
    works(&stage, Form::Json).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_headers_is_answered_in_json() {
    let stage = Stage::nowhere().await;
    let frame = transport::Request { method: metadata().method, ..Default::default() };
    for event in [
        json!({}),
        json!(null),
        json!({ "headers": null }),
        json!({ "v": 2, "frame": STANDARD.encode(frame.encode_to_vec()) }),
    ] {
        let answered = Answered::read(&stage.invoke(&event).await, Form::Json);
        answered.assert_failed(13, "Internal Server Error");
    }
    let answered = Answered::read(&stage.invoke(&json!({ "headers": {} })).await, Form::Json);
    answered.assert_failed(16, "missing authorization header");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_unary_methods_of_a_connector_can_be_called() {
    let stage = Stage::nowhere().await;
    let named = |method: &str| Call { method: method.to_owned(), ..metadata() };
    for form in Form::ALL {
        for (method, text) in [
            ("foo", "malformed method name: \"foo\""),
            ("", "malformed method name: \"\""),
            ("/no.Such/Method", "unknown service no.Such"),
            ("/c1.connector.v2.SchemaService/GetSchema", "unknown service c1.connector.v2.SchemaService"),
            ("/c1.connectorapi.baton.v1.BatonService/Hello", "unknown service"),
            ("/c1.connectorapi.baton.v1.ConnectorConfigService/GetConnectorConfig", "unknown service"),
            ("/grpc.health.v1.Health/Check", "unknown service"),
            ("/c1.connector.v2.ConnectorService/NoSuch", "unknown method NoSuch"),
        ] {
            stage.make(named(method), form).await.assert_failed(12, text);
        }
        let asset = Call::of("AssetService/GetAsset", &AssetServiceGetAssetRequest::default());
        stage.make(asset, form).await.assert_failed(12, "unknown method GetAsset");
        let limiter = Call {
            method: "/c1.ratelimit.v1.RateLimiterService/Do".to_owned(),
            request: Some(any(&DoRequest::default())),
            headers: Vec::new(),
        };
        stage
            .make(limiter, form)
            .await
            .assert_failed(12, "unknown service c1.ratelimit.v1.RateLimiterService");
        // The slash before the name is optional.
        let answered = stage.make(named(&metadata().method[1..]), form).await;
        let _: ConnectorServiceGetMetadataResponse = answered.message();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_request_of_another_type_than_its_method() {
    let stage = Stage::nowhere().await;
    let text = "failed to unmarshal request: ";
    for form in Form::ALL {
        stage.make(Call { request: None, ..metadata() }, form).await.assert_failed(13, text);
        let other = any(&ConnectorServiceValidateRequest::default());
        stage.make(Call { request: Some(other), ..metadata() }, form).await.assert_failed(13, text);
    }
    let nameless = Call { request: Some(Any::default()), ..metadata() };
    stage.make(nameless, Form::Frame).await.assert_failed(13, text);
    let mut empty = metadata().with("authorization", &[&stage.parts.signer.token()]).event(Form::Json);
    empty["req"] = json!({});
    Answered::read(&stage.invoke(&empty).await, Form::Json).assert_failed(13, text);
    // The bytes are not this message.
    let mut broken = any(&ResourceTypesServiceListResourceTypesRequest::default());
    broken.value = vec![0xff];
    let method = "/c1.connector.v2.ResourceTypesService/ListResourceTypes".to_owned();
    let broken = Call { method, request: Some(broken), headers: Vec::new() };
    stage.make(broken, Form::Frame).await.assert_failed(3, "cannot decode");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_of_the_call_and_of_lambda_are_enforced() {
    let stage = Stage::nowhere().await;
    for wrong in ["x", "5", "S", "123456789S", "-1S", "1.5S", "5s", "1 S", "５S"] {
        let call = metadata().with("grpc-timeout", &[wrong]);
        stage.make(call, Form::Frame).await.assert_failed(13, "malformed grpc-timeout: ");
    }
    for good in ["1H", "99999999H", "1M", "60S", "60000m", "60000000u"] {
        let call = metadata().with("Grpc-Timeout", &[good]);
        let _: ConnectorServiceGetMetadataResponse = stage.make(call, Form::Json).await.message();
    }
    // The first value counts, whatever the second value.
    let call = metadata().with("grpc-timeout", &["60S", "x"]);
    let _: ConnectorServiceGetMetadataResponse = stage.make(call, Form::Frame).await.message();
    stage.make(metadata().with("grpc-timeout", &["0S"]), Form::Frame).await.assert_failed(4, "");
    let past = metadata().with("authorization", &[&stage.parts.signer.token()]).event(Form::Frame);
    let posted = stage.parts.lambda.invoke_until(Some("1000"), past.to_string()).await;
    Answered::read(&posted, Form::Frame).assert_failed(4, "");
    let event = metadata().with("authorization", &[&stage.parts.signer.token()]).event(Form::Json);
    let posted = stage.parts.lambda.invoke_until(Some(&u64::MAX.to_string()), event.to_string()).await;
    let _: ConnectorServiceGetMetadataResponse = Answered::read(&posted, Form::Json).message();
    // A slow call: no server answers at this address, and the call tries to connect for 15 seconds.
    let call = Call::of("ConnectorService/Validate", &ConnectorServiceValidateRequest::default());
    for timeout in ["300m", "300000u", "99999999n"] {
        let cut = stage.make(call.clone().with("grpc-timeout", &[timeout]), Form::Frame).await;
        cut.assert_failed(4, "the call took longer than ");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let soon = (now + Duration::from_millis(500)).as_millis().to_string();
    let event = call.with("authorization", &[&stage.parts.signer.token()]).event(Form::Json);
    let posted = stage.parts.lambda.invoke_until(Some(&soon), event.to_string()).await;
    Answered::read(&posted, Form::Json).assert_failed(4, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_keeps_its_code_message_and_details() {
    let stage = Stage::nowhere().await;
    for form in Form::ALL {
        // The request breaks a rule of the protocol, as over the port.
        let id =
            ResourceId { resource_type: "group".to_owned(), resource: "g1".to_owned(), ..Default::default() };
        let request = GrantsServiceListGrantsRequest {
            resource: Some(Resource { id: Some(id), ..Default::default() }),
            page_size: 300,
            ..Default::default()
        };
        let answered = stage.call("GrantsService/ListGrants", &request, form).await;
        answered.assert_failed(3, "page_size must be at most 250, is 300");
        let details = &answered.status.details[0];
        assert_eq!(details.type_url, "type.googleapis.com/google.rpc.BadRequest");
        assert_eq!(
            pb::BadRequest::decode(&details.value[..]).unwrap().field_violations[0].field,
            "page_size"
        );
        // No server answers at this address.
        let request =
            ResourcesServiceListResourcesRequest { resource_type_id: "org".to_owned(), ..Default::default() };
        let answered = stage.call("ResourcesService/ListResources", &request, form).await;
        answered.assert_failed(14, "");
        assert!(answered.response.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_annotations_are_ignored() {
    let stage = Stage::nowhere().await;
    let unknown = Any { type_url: "type.googleapis.com/no.Such".to_owned(), value: vec![8, 1] };
    let id = ResourceId { resource_type: "org".to_owned(), resource: "o1".to_owned(), ..Default::default() };
    let with = |annotations: Vec<Any>| GrantsServiceListGrantsRequest {
        page_size: 300,
        resource: Some(Resource {
            id: Some(id.clone()),
            annotations: annotations.clone(),
            ..Default::default()
        }),
        annotations,
        ..Default::default()
    };
    // The error about the rule shows that the request was read.
    let known = Call::of("GrantsService/ListGrants", &with(vec![any(&BatonId::default())]));
    let mut event = known.with("authorization", &[&stage.parts.signer.token()]).event(Form::Json);
    for place in ["/req/annotations", "/req/resource/annotations"] {
        let Some(Value::Array(annotations)) = event.pointer_mut(place) else { panic!("{place}") };
        annotations.push(json!({ "@type": unknown.type_url, "a": 1 }));
        annotations.push(json!({ "a": 1 }));
    }
    Answered::read(&stage.invoke(&event).await, Form::Json).assert_failed(3, "page_size");
    let framed = Call::of("GrantsService/ListGrants", &with(vec![unknown]));
    stage.make(framed, Form::Frame).await.assert_failed(3, "page_size");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_tickets_are_on_unless_turned_off() {
    let resource = |resource_type: &str, id: &str| {
        let id = ResourceId {
            resource_type: resource_type.to_owned(),
            resource: id.to_owned(),
            ..Default::default()
        };
        Some(Resource { id: Some(id), ..Default::default() })
    };
    let entitlement = Entitlement {
        resource: resource("group", "g1"),
        id: "group:g1:member".to_owned(),
        ..Default::default()
    };
    let grant = Call::of(
        "GrantManagerService/Grant",
        &GrantManagerServiceGrantRequest {
            entitlement: Some(entitlement),
            principal: resource("user", "u1"),
            annotations: Vec::new(),
        },
    );
    let tickets =
        Call::of("TicketsService/ListTicketSchemas", &TicketsServiceListTicketSchemasRequest::default());
    let stage = Stage::nowhere().await;
    // The call proceeds to the database, which does not answer.
    let answered = stage.make(grant.clone().with("grpc-timeout", &["10S"]), Form::Frame).await;
    assert!(matches!(answered.status.code, 4 | 14), "{answered:?}");
    let answered = stage.make(tickets.clone(), Form::Frame).await;
    assert!(!answered.status.message.contains("not enabled"), "{answered:?}");

    let parts = Parts::new(NOWHERE).await;
    let off = json!({ "connection-string": NOWHERE, "provisioning": false, "ticketing": false });
    parts.hosted.serve("cv-1", Config::of("cv-1", off));
    let stage = parts.run();
    stage.make(grant, Form::Frame).await.assert_failed(9, "provisioning is not enabled");
    stage.make(tickets, Form::Frame).await.assert_failed(2, "ticketing is not enabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_runtime_api_ends_the_function() {
    let stage = Stage::nowhere().await;
    works(&stage, Form::Frame).await;
    stage.parts.lambda.fail_next();
    let (status, lines) = stage.function.ended();
    assert_eq!(status.code(), Some(1));
    let last = lines.last().unwrap()["msg"].as_str().unwrap();
    assert!(last.contains("returned no event: it answered 500"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_lambda_refuses_ends_the_function() {
    let stage = Stage::nowhere().await;
    works(&stage, Form::Frame).await;
    stage.parts.lambda.refuse(413);
    works(&stage, Form::Frame).await;
    let (status, lines) = stage.function.ended();
    assert_eq!(status.code(), Some(1));
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains("413"), "{last}");
}
