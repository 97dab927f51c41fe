//! The answer to an event, in the form of the call.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, ListValue, Struct};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::numbers;
use crate::proto::string;
use crate::proto::transport::Response;
use crate::repeats::Verdict;
use crate::server::lambda::event::Form;
use crate::server::lambda::json::Packed;
use crate::server::lambda::lines;

/// Largest answer, in bytes: the limit of Lambda, less a margin.
const LARGEST: usize = 6 * 1024 * 1024 - 64 * 1024;

/// An answer.
#[derive(Debug)]
pub(super) enum Reply {
    /// The call succeeded.
    Answer(Box<Answer>),
    /// The call failed.
    Refusal(Status),
}

/// The answer of a successful call.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) message: Any,
    /// Headers that the service set.
    pub(super) headers: HeaderMap,
    pub(super) trailers: HeaderMap,
}

/// An answer that cannot be encoded as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transport: cannot encode the answer as JSON: {0}")]
pub(super) struct Unwritable(String);

/// An answer as JSON.
#[derive(Serialize)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    resp: Option<Packed>,
    status: Packed,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Map<String, Json>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trailers: Option<Map<String, Json>>,
}

impl Reply {
    /// Encodes the answer for Lambda. An answer that is too large becomes a refusal.
    ///
    /// # Errors
    /// [`Unwritable`]
    pub(super) fn write(&self, form: Form) -> Result<Vec<u8>, Unwritable> {
        let written = self.written(form)?;
        if written.len() <= LARGEST {
            return Ok(written);
        }
        if let Verdict::Log { left_out } = lines::judge("size") {
            tracing::warn!(bytes = written.len(), limit = LARGEST, left_out, "answer too large for Lambda");
        }
        let refusal = Status::resource_exhausted(format!(
            "the answer has {}, more than the {} that Lambda accepts; request a smaller page",
            numbers::size(written.len()),
            numbers::size(LARGEST)
        ));
        Self::Refusal(refusal).written(form)
    }

    fn written(&self, form: Form) -> Result<Vec<u8>, Unwritable> {
        match form {
            Form::Frame => {
                let frame = STANDARD.encode(self.encoded().encode_to_vec());
                Ok([br#"{"v":2,"frame":""#, frame.as_bytes(), br#""}"#].concat())
            }
            Form::Json => {
                let written = self.as_json().map_err(Unwritable)?;
                serde_json::to_vec(&written).map_err(|error| Unwritable(error.to_string()))
            }
        }
    }

    fn encoded(&self) -> Response {
        let status = Some(packed_status(self));
        match self {
            Self::Answer(answer) => Response {
                resp: Some(answer.message.clone()),
                status,
                headers: Some(as_struct(&answer.headers)),
                trailers: Some(as_struct(&answer.trailers)),
            },
            Self::Refusal(_) => Response { status, ..Default::default() },
        }
    }

    fn as_json(&self) -> Result<Written, String> {
        let status = Packed::of(&packed_status(self))?;
        Ok(match self {
            Self::Answer(answer) => Written {
                resp: Some(Packed::of(&answer.message)?),
                status,
                headers: Some(as_object(&answer.headers)),
                trailers: Some(as_object(&answer.trailers)),
            },
            Self::Refusal(_) => Written { resp: None, status, headers: None, trailers: None },
        })
    }
}

/// The status as a packed `google.rpc.Status`.
fn packed_status(reply: &Reply) -> Any {
    let status = match reply {
        Reply::Answer(_) => {
            pb::Status { code: Code::Ok.into(), message: "OK".to_owned(), details: Vec::new() }
        }
        Reply::Refusal(status) => pb::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            // The details of a service's status contain a whole encoded status.
            details: pb::Status::decode(status.details()).map(|status| status.details).unwrap_or_default(),
        },
    };
    Any { type_url: "type.googleapis.com/google.rpc.Status".to_owned(), value: status.encode_to_vec() }
}

/// The values of each name, without values that are not text.
fn texts(headers: &HeaderMap) -> impl Iterator<Item = (String, Vec<String>)> {
    headers.keys().map(|name| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        (name.as_str().to_owned(), values.map(str::to_owned).collect())
    })
}

fn as_struct(headers: &HeaderMap) -> Struct {
    let list = |texts: Vec<String>| {
        let values = texts.into_iter().map(string).collect();
        prost_types::Value { kind: Some(Kind::ListValue(ListValue { values })) }
    };
    Struct { fields: texts(headers).map(|(name, texts)| (name, list(texts))).collect() }
}

fn as_object(headers: &HeaderMap) -> Map<String, Json> {
    texts(headers).map(|(name, texts)| (name, Json::from(texts))).collect()
}
