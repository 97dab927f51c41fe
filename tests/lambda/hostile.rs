//! Events that try to exhaust resources.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use baton_retool::proto::connector::{
    ConnectorServiceGetMetadataRequest, ConnectorServiceGetMetadataResponse, GrantsServiceListGrantsRequest,
};
use baton_retool::proto::transport;
use prost::{Message, Name};
use prost_types::Any;
use serde_json::json;

use crate::support::hosted::caller::{Answered, Call, Form};
use crate::support::hosted::stage::Stage;

const MIB: usize = 1024 * 1024;
/// The most memory that such an event may take, in addition to the normal memory of the program (decision
/// lambda-events).
const TAKEN: u64 = 96 * MIB as u64;

async fn works(stage: &Stage) {
    let request = ConnectorServiceGetMetadataRequest::default();
    let answered = stage.call("ConnectorService/GetMetadata", &request, Form::Frame).await;
    let _: ConnectorServiceGetMetadataResponse = answered.message();
}

fn framed(value: Vec<u8>, headers: &str) -> String {
    let request = transport::Request {
        method: "/c1.connector.v2.GrantsService/ListGrants".to_owned(),
        req: Some(Any { type_url: GrantsServiceListGrantsRequest::type_url(), value }),
        headers: None,
    };
    let mut bytes = request.encode_to_vec();
    // Encoded headers with one value.
    let call = Call { method: String::new(), request: None, headers: Vec::new() };
    let token = call.with("authorization", &[headers]).event(Form::Frame);
    let encoded = STANDARD.decode(token["frame"].as_str().unwrap()).unwrap();
    bytes.extend(encoded);
    json!({ "v": 2, "frame": STANDARD.encode(bytes) }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_events_are_bounded() {
    let stage = Stage::nowhere().await;
    works(&stage).await;
    let before = stage.function.peak_data_memory();
    let token = stage.parts.signer.token();
    let typed = |rest: &str| {
        format!(
            r#"{{"method":"/c1.connector.v2.GrantsService/ListGrants","headers":{{"authorization":["{token}"]}},"req":{{"@type":"type.googleapis.com/c1.connector.v2.GrantsServiceListGrantsRequest",{rest}}}}}"#
        )
    };
    let errors = [
        // More than Lambda itself accepts.
        vec![b' '; 64 * MIB],
        format!("{{\"x\":\"{}\"}}", "y".repeat(64 * MIB)).into_bytes(),
        "[".repeat(5 * MIB).into_bytes(),
        format!("{{\"a\":{}", "{\"a\":".repeat(MIB)).into_bytes(),
        typed(&format!("\"annotations\":[{}{{}}]", "{},".repeat(MIB))).into_bytes(),
        typed(&format!("\"x\":{}{}", "[".repeat(1000), "]".repeat(1000))).into_bytes(),
        format!(r#"{{"headers":{{"x":[{}""]}}}}"#, "\"\",".repeat(MIB)).into_bytes(),
        json!({ "v": 2, "frame": "A".repeat(5 * MIB) }).to_string().into_bytes(),
        typed(&format!("\"annotations\":7,\"@type\":\"x.y/{}\"", "z".repeat(5 * MIB))).into_bytes(),
        json!({
            "headers": { "authorization": [token] },
            "req": { "@type": format!("type.googleapis.com/{}", "z".repeat(5 * MIB)) },
        })
        .to_string()
        .into_bytes(),
    ];
    for event in errors {
        let head = String::from_utf8_lossy(&event[..event.len().min(60)]).into_owned();
        let posted = stage.parts.lambda.invoke(event).await;
        assert_eq!(posted.error().1, "InvalidEvent", "{head}");
        assert!(posted.error().0.len() < 1000);
        works(&stage).await;
    }
    // Nested packed messages, with the types last, so that each level is read before its type is known.
    let kind = "type.googleapis.com/c1.connector.v2.GrantsServiceListGrantsRequest";
    let mut nested = format!(r#"{{"pageToken":"{}","@type":"{kind}"}}"#, "x".repeat(4 * MIB));
    for _ in 0..45 {
        nested = format!(r#"{{"annotations":[{nested}],"@type":"{kind}"}}"#);
    }
    let event = format!(
        r#"{{"method":"/c1.connector.v2.GrantsService/ListGrants","headers":{{"authorization":["{token}"]}},"req":{nested}}}"#
    );
    let begun = Instant::now();
    Answered::read(&stage.parts.lambda.invoke(event).await, Form::Json)
        .assert_failed(8, "--max-request-bytes");
    eprintln!("45 packed messages in each other took {:?}", begun.elapsed());
    works(&stage).await;
    // Long names are not shown in full.
    for (method, code) in [("x".repeat(4 * MIB), 12), (format!("/{}/x", "x".repeat(4 * MIB)), 12)] {
        let request = ConnectorServiceGetMetadataRequest::default();
        let call = Call { method, ..Call::of("ConnectorService/GetMetadata", &request) };
        let answered = stage.make(call, Form::Json).await;
        answered.assert_failed(code, "");
        assert!(answered.status.message.len() < 1000);
    }
    let long = "v".repeat(10_000);
    let call = Call::of("ConnectorService/GetMetadata", &ConnectorServiceGetMetadataRequest::default())
        .with("authorization", &[&token])
        .with("x-baton-connector-config-version", &[&long]);
    Answered::read(&stage.invoke(&call.event(Form::Json)).await, Form::Json)
        .assert_failed(14, "its version has more than 256 bytes");
    // Calls have the same limits as over the port.
    for (value, code, word) in [
        ([0x22, 0x00].repeat(MIB / 2), 8, "would take more than"),
        // A page token of 3 MiB.
        ([&[0x1a, 0x80, 0x80, 0xc0, 0x01][..], &[b'x'; 3 * MIB][..]].concat(), 8, "--max-request-bytes"),
        (vec![0x1a, 0xff, 0xff, 0xff, 0x7f], 3, "cannot decode"),
    ] {
        let posted = stage.parts.lambda.invoke(framed(value, &token)).await;
        Answered::read(&posted, Form::Frame).assert_failed(code, word);
        works(&stage).await;
    }
    if let (Some(before), Some(after)) = (before, stage.function.peak_data_memory()) {
        eprintln!("memory in MiB: {} before, {} at the most", before / MIB as u64, after / MIB as u64);
        assert!(after < before + TAKEN, "{before} {after}");
    }
}
