//! The caller of a hosted connector: signs tokens and encodes calls as events.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use baton_retool::proto::descriptor_pool;
use baton_retool::proto::transport;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::value::Kind;
use prost_types::{Any, FileDescriptorSet, ListValue, Struct};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Map, Value, json};
use tonic_types::pb;

use super::runtime::Posted;

/// The encoding of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Frame,
    /// Both; the frame takes precedence.
    Dual,
}

impl Form {
    pub(crate) const ALL: [Self; 3] = [Self::Json, Self::Frame, Self::Dual];
}

/// A key that signs tokens.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
}

/// A call that becomes an event.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) request: Option<Any>,
    pub(crate) headers: Vec<(String, Vec<String>)>,
}

/// The answer to an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answered {
    pub(crate) response: Option<Any>,
    pub(crate) status: pb::Status,
    /// Whether the answer has headers and trailers.
    pub(crate) headers: bool,
}

impl Signer {
    pub(crate) fn new() -> Self {
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&rand::random::<[u8; 32]>()).unwrap() }
    }

    /// The public key, as a JSON Web Key.
    pub(crate) fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.pair.public_key()) })
    }

    /// A valid token.
    pub(crate) fn token(&self) -> String {
        self.token_with(|_| {})
    }

    /// A token with changed claims.
    pub(crate) fn token_with(&self, change: impl FnOnce(&mut Value)) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({ "iss": "test-issuer", "sub": "test-subject", "aud": ["x", "test-audience"], "exp": now + 300 });
        change(&mut claims);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "EdDSA" })), part(&claims));
        let signature = self.pair.sign(message.as_bytes());
        format!("Bearer {message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Call {
    /// A call of a method of the protocol, such as `GrantsService/ListGrants`.
    pub(crate) fn of<M: Message + Name>(method: &str, request: &M) -> Self {
        let request = Any { type_url: M::type_url(), value: request.encode_to_vec() };
        let method = format!("/c1.connector.v2.{method}");
        Self { method, request: Some(request), headers: Vec::new() }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &str, values: &[&str]) -> Self {
        self.headers.push((name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect()));
        self
    }

    /// The event of the call.
    pub(crate) fn event(&self, form: Form) -> Value {
        let mut event = Value::Object(Map::new());
        if form != Form::Frame {
            event["method"] = self.method.clone().into();
            if let Some(request) = &self.request {
                event["req"] = as_json(request);
            }
            event["headers"] = self
                .headers
                .iter()
                .map(|(name, values)| (name.clone(), json!(values)))
                .collect::<Map<_, _>>()
                .into();
        }
        if form != Form::Json {
            event["v"] = 2.into();
            event["frame"] = STANDARD.encode(self.encoded().encode_to_vec()).into();
        }
        event
    }

    fn encoded(&self) -> transport::Request {
        let list = |values: &Vec<String>| {
            let values = values.iter().map(|value| baton_retool::proto::string(value.clone())).collect();
            prost_types::Value { kind: Some(Kind::ListValue(ListValue { values })) }
        };
        let fields = self.headers.iter().map(|(name, values)| (name.clone(), list(values))).collect();
        transport::Request {
            method: self.method.clone(),
            req: self.request.clone(),
            headers: Some(Struct { fields }),
        }
    }
}

impl Answered {
    /// Reads the posted answer, which must have the form of the call.
    #[track_caller]
    pub(crate) fn read(posted: &Posted, form: Form) -> Self {
        let written = posted.json();
        let keys: Vec<&String> = written.as_object().unwrap().keys().collect();
        if form == Form::Json {
            let headers = written.get("headers").is_some();
            assert_eq!(headers, written.get("resp").is_some());
            assert_eq!(headers, written.get("trailers").is_some());
            let status = any_of(&written["status"]);
            let status = pb::Status::decode(&status.value[..]).unwrap();
            return Self { response: written.get("resp").map(any_of), status, headers };
        }
        assert_eq!(keys, ["v", "frame"]);
        assert_eq!(written["v"], 2);
        let frame = STANDARD.decode(written["frame"].as_str().unwrap()).unwrap();
        let response = transport::Response::decode(&frame[..]).unwrap();
        assert_eq!(response.headers.is_some(), response.resp.is_some());
        let status = response.status.unwrap();
        assert_eq!(status.type_url, "type.googleapis.com/google.rpc.Status");
        Self {
            headers: response.headers.is_some(),
            response: response.resp,
            status: pb::Status::decode(&status.value[..]).unwrap(),
        }
    }

    /// The message of a successful answer.
    #[track_caller]
    pub(crate) fn message<M: Message + Name + Default>(&self) -> M {
        assert_eq!((self.status.code, self.status.message.as_str()), (0, "OK"));
        let packed = self.response.as_ref().unwrap();
        assert_eq!(packed.type_url, M::type_url());
        M::decode(&packed.value[..]).unwrap()
    }

    /// Asserts that the call failed in this way.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, text: &str) {
        assert_eq!((self.status.code, self.headers), (code, false), "{}", self.status.message);
        assert!(self.status.message.contains(text), "{:?} has no {text:?}", self.status.message);
    }
}

/// A packed message as JSON.
pub(crate) fn as_json(packed: &Any) -> Value {
    let any = descriptor_pool().get_message_by_name("google.protobuf.Any").unwrap();
    let mut message = DynamicMessage::new(any);
    message.transcode_from(packed).unwrap();
    serde_json::to_value(&message).unwrap()
}

fn any_of(json: &Value) -> Any {
    /// The protocol, and the details of a status.
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        let mut pool = descriptor_pool().clone();
        let mut set = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).unwrap();
        set.file.retain(|file| file.name() == "error_details.proto");
        pool.add_file_descriptor_set(set).unwrap();
        pool
    });
    let any = POOL.get_message_by_name("google.protobuf.Any").unwrap();
    DynamicMessage::deserialize(any, json).unwrap().transcode_to().unwrap()
}
