//! Random changes of events and tokens.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::proto;
use crate::proto::connector::{ConnectorServiceGetMetadataRequest, ConnectorServiceGetMetadataResponse};
use crate::proto::transport::Request;
use crate::server::lambda::callers::{Callers, KeySet};
use crate::server::lambda::function::{Function, Outcome};
use crate::server::lambda::tests::callers::{claims, ed25519, token};
use crate::server::lambda::tests::function::{Nothing, answer, answering, event, function};

/// A replacement of a part of a text.
type Change = (Index, usize, Vec<u8>);

fn change() -> impl Strategy<Value = Change> {
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..6),
        prop::sample::select(
            &["{", "}", "[", "]", "null", ",", ":", "\"@type\":", "1e999", "-", "\\u0000", "\\ud800"][..]
        )
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (any::<Index>(), 0..8_usize, bytes)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (at, length, with) in changes {
        let begin = at.index(bytes.len() + 1);
        let end = (begin + length).min(bytes.len());
        bytes.splice(begin..end, with.iter().copied());
    }
    bytes
}

/// A function whose service answers every call, and a token for it.
fn answering_all() -> (Function<Nothing>, String) {
    let message = ConnectorServiceGetMetadataResponse::default();
    function(answering(move || answer(&message, &[("grpc-status", "0")]), &Arc::default()))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The answer to an event. It does not use `outcome`, which would hide a panic.
fn answered(bytes: &[u8]) -> Outcome {
    runtime().block_on(async {
        let (mut function, _) = answering_all();
        function.answer(bytes, SystemTime::now() + Duration::from_secs(60)).await
    })
}

/// Whether the call was made.
fn is_good(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Reply(bytes) => {
            let reply: Value = serde_json::from_slice(bytes).unwrap();
            if let Some(frame) = reply.get("frame") {
                assert_eq!(reply["v"], 2);
                let frame = STANDARD.decode(frame.as_str().unwrap()).unwrap();
                return crate::proto::transport::Response::decode(&frame[..]).unwrap().resp.is_some();
            }
            assert_eq!(reply["status"]["@type"], "type.googleapis.com/google.rpc.Status");
            reply.get("resp").is_some()
        }
        Outcome::Error { message, kind } => {
            assert_eq!(*kind, "InvalidEvent");
            assert!(message.starts_with("transport: "), "{message}");
            false
        }
    }
}

fn encoded(token: &str) -> Vec<u8> {
    let list = ListValue { values: vec![proto::string(token.to_owned())] };
    let value = prost_types::Value { kind: Some(Kind::ListValue(list)) };
    Request {
        method: "/c1.connector.v2.ConnectorService/GetMetadata".to_owned(),
        req: Some(proto::any(&ConnectorServiceGetMetadataRequest::default())),
        headers: Some(Struct { fields: [("authorization".to_owned(), value)].into() }),
    }
    .encode_to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_event_is_a_call_or_an_error(changes in vec(change(), 0..5)) {
        let token = runtime().block_on(async { answering_all().1 });
        let text = changed(event(&token).to_string().into_bytes(), &changes);
        let is_good = is_good(&answered(&text));
        // No call succeeds without the complete token, and an unchanged event always succeeds.
        prop_assert!(!is_good || String::from_utf8_lossy(&text).contains(&token));
        prop_assert!(is_good || !changes.is_empty());
    }

    #[test]
    fn a_frame_is_a_call_or_an_error(changes in vec(change(), 0..5)) {
        let token = runtime().block_on(async { answering_all().1 });
        let bytes = changed(encoded(&token), &changes);
        let event = json!({ "v": 2, "frame": STANDARD.encode(&bytes) }).to_string();
        let is_good = is_good(&answered(event.as_bytes()));
        let has_token = bytes.windows(token.len()).any(|window| window == token.as_bytes());
        prop_assert!(!is_good || has_token);
        prop_assert!(is_good || !changes.is_empty());
    }

    #[test]
    fn rejects_every_changed_token(changes in vec(change(), 1..3), text in "[ -~]{0,80}") {
        let (jwk, sign) = ed25519(7, None);
        let keys = KeySet::of_key(&jwk.to_string()).unwrap();
        let callers = Callers::new(keys, "issuer", "subject", "audience");
        let good = token(&json!({ "alg": "EdDSA" }), &claims(), &sign);
        prop_assert_eq!(callers.admit(Some(&good)), Ok(()));
        let other = changed(good.clone().into_bytes(), &changes);
        let other = String::from_utf8_lossy(&other);
        prop_assert!(other == good || callers.admit(Some(&other)).is_err(), "{}", other);
        prop_assert!(callers.admit(Some(&text)).is_err());
        let bearer = format!("Bearer {text}");
        prop_assert!(callers.admit(Some(&bearer)).is_err());
    }

    #[test]
    fn any_text_is_a_key_set_or_an_error(changes in vec(change(), 1..5)) {
        let (jwk, _) = ed25519(7, Some("k1"));
        let rsa = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        let set = json!({ "keys": [jwk, rsa] }).to_string();
        let text = changed(set.into_bytes(), &changes);
        let keys = KeySet::of_set(&String::from_utf8_lossy(&text));
        let callers = Callers::new(keys.unwrap_or_default(), "issuer", "subject", "audience");
        let (_, sign) = ed25519(8, None);
        let foreign = token(&json!({ "alg": "EdDSA" }), &claims(), &sign);
        prop_assert!(callers.admit(Some(&foreign)).is_err());
    }
}
