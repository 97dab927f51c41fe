//! Reads an event: a call in one of two forms.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost_types::Any;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::proto::validate::ELEMENTS;
use crate::server::lambda::budget::{self, DEPTH};
use crate::server::lambda::headers::{Headers, HeadersError};
use crate::server::lambda::json;

/// The supported version of frames.
const FRAME_VERSION: i64 = 2;

/// A call. Its request is decoded later, so that callers without a token cost little.
#[derive(Debug, Clone)]
pub(super) struct Event<'a> {
    /// The method as written by the caller.
    pub(super) method: String,
    /// `None` if the event has no `headers` field.
    pub(super) headers: Option<Headers>,
    /// The form of the answer.
    pub(super) form: Form,
    request: Sent<'a>,
}

/// The request as received.
#[derive(Debug, Clone)]
enum Sent<'a> {
    Nothing,
    Json(&'a RawValue),
    Packed(Any),
}

/// The form of a call and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All fields as JSON.
    Json,
    /// One encoded message in a JSON field.
    Frame,
}

/// An event that is not a call. The messages are returned to the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EventError {
    #[error("transport: the event is not a JSON object{}", .0.as_ref().map(|at| format!(": {at}")).unwrap_or_default())]
    NoObject(Option<String>),
    #[error("transport: unsupported wire frame version {0}")]
    Version(i64),
    #[error("transport: the frame does not decode as a request")]
    Frame,
    #[error("transport: {0}")]
    Headers(#[from] HeadersError),
    #[error("transport: the request cannot be read: {0}")]
    Request(String),
    #[error("transport: the request has more than {ELEMENTS} values; split it into several calls")]
    Elements,
    #[error("transport: the request is nested more than {DEPTH} levels deep")]
    Depth,
}

/// The JSON of an event. A frame takes precedence over the other fields.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    v: Option<&'a RawValue>,
    #[serde(borrow)]
    frame: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    req: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
}

/// `c1.transport.v1.Request` with encoded headers. Their size is checked before they are decoded.
#[derive(Clone, PartialEq, Message)]
struct Encoded {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(message, optional, tag = "2")]
    req: Option<Any>,
    #[prost(bytes = "vec", optional, tag = "3")]
    headers: Option<Vec<u8>>,
}

impl<'a> Event<'a> {
    /// Reads an event, without its request.
    ///
    /// # Errors
    /// [`EventError`]
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, EventError> {
        let text = std::str::from_utf8(bytes).map_err(|_| EventError::NoObject(None))?.trim();
        if text == "null" {
            let request = Sent::Nothing;
            return Ok(Self { method: String::new(), request, headers: None, form: Form::Json });
        }
        if !text.starts_with('{') {
            return Err(EventError::NoObject(None));
        }
        let written: Written<'_> =
            serde_json::from_str(text).map_err(|error| EventError::NoObject(Some(place(&error))))?;
        match written.frame()? {
            Some(frame) => Self::of_frame(&frame),
            None => Self::of_json(&written),
        }
    }

    fn of_frame(frame: &[u8]) -> Result<Self, EventError> {
        let Encoded { method, req, headers } = Encoded::decode(frame).map_err(|_| EventError::Frame)?;
        let headers = headers.map(|headers| Headers::of_struct(&headers)).transpose()?;
        let request = req.map_or(Sent::Nothing, Sent::Packed);
        Ok(Self { method, request, headers, form: Form::Frame })
    }

    fn of_json(written: &Written<'a>) -> Result<Self, EventError> {
        let method: Option<String> = match written.method {
            Some(method) => serde_json::from_str(method.get())
                .map_err(|_| EventError::Request("its method is not a string".to_owned()))?,
            None => None,
        };
        let headers = written.headers.map(|headers| Headers::of_json(headers.get())).transpose()?.flatten();
        let request = written.req.map_or(Sent::Nothing, Sent::Json);
        Ok(Self { method: method.unwrap_or_default(), request, headers, form: Form::Json })
    }

    /// Decodes the request; `None` if there is none.
    ///
    /// # Errors
    /// [`EventError::Request`], [`EventError::Elements`], [`EventError::Depth`]
    pub(super) fn request(&self) -> Result<Option<Any>, EventError> {
        match &self.request {
            Sent::Nothing => Ok(None),
            Sent::Packed(packed) => Ok(Some(packed.clone())),
            Sent::Json(text) => {
                budget::check(text.get()).map_err(|excess| match excess {
                    budget::Excess::Elements => EventError::Elements,
                    budget::Excess::Depth => EventError::Depth,
                })?;
                json::unpacked(text.get()).map_err(EventError::Request)
            }
        }
    }
}

impl Written<'_> {
    /// The decoded frame; `None` if there is none, or if the field is not base64.
    ///
    /// # Errors
    /// [`EventError::Version`]
    fn frame(&self) -> Result<Option<Vec<u8>>, EventError> {
        let Some(frame) = self.frame else { return Ok(None) };
        let Some(version) = self.v.map_or(Some(0), |v| serde_json::from_str(v.get()).ok()) else {
            return Ok(None);
        };
        let text: Option<String> = serde_json::from_str(frame.get()).unwrap_or_default();
        let decoded = text.and_then(|text| STANDARD.decode(text).ok()).filter(|frame| !frame.is_empty());
        match decoded {
            Some(_) if version != FRAME_VERSION => Err(EventError::Version(version)),
            frame => Ok(frame),
        }
    }
}

/// The position of a JSON error, without the text at that position.
fn place(error: &serde_json::Error) -> String {
    format!("syntax error at line {}, column {}", error.line(), error.column())
}
