//! What an event says: a call, in one of two forms.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost_types::Any;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::server::lambda::budget;
use crate::server::lambda::headers::{Headers, HeadersError};
use crate::server::lambda::json;

/// The version of frames that is understood.
const FRAME_VERSION: i64 = 2;

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// As the caller spells it.
    pub(super) method: String,
    /// Nothing where there is none.
    pub(super) request: Option<Any>,
    /// Nothing where there are none at all.
    pub(super) headers: Option<Headers>,
    /// How the answer is to be written.
    pub(super) form: Form,
}

/// How a call and its answer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Every field as JSON.
    Json,
    /// One encoded message within JSON.
    Frame,
}

/// An event that is no call. The texts are for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EventError {
    #[error("transport: the event is no JSON object{}", .0.as_ref().map(|at| format!(": {at}")).unwrap_or_default())]
    NoObject(Option<String>),
    #[error("transport: unsupported wire frame version {0}")]
    Version(i64),
    #[error("transport: the frame is no encoded request")]
    Frame,
    #[error("transport: {0}")]
    Headers(#[from] HeadersError),
    #[error("transport: the request cannot be read: {0}")]
    Request(String),
    #[error("transport: the request has more values than one call may have; send less in one call")]
    Elements,
    #[error("transport: the request is nested too deep")]
    Depth,
}

/// An event as it is written. A frame may stand beside the other fields, and wins.
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

/// `c1.transport.v1.Request` with its headers as they are encoded, so that little is built of many.
#[derive(Clone, PartialEq, Message)]
struct Encoded {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(message, optional, tag = "2")]
    req: Option<Any>,
    #[prost(bytes = "vec", optional, tag = "3")]
    headers: Option<Vec<u8>>,
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    /// [`EventError`]
    pub(super) fn read(bytes: &[u8]) -> Result<Self, EventError> {
        let text = std::str::from_utf8(bytes).map_err(|_| EventError::NoObject(None))?.trim();
        if text == "null" {
            return Ok(Self { method: String::new(), request: None, headers: None, form: Form::Json });
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
        Ok(Self { method, request: req, headers, form: Form::Frame })
    }

    fn of_json(written: &Written<'_>) -> Result<Self, EventError> {
        let method: Option<String> = match written.method {
            Some(method) => serde_json::from_str(method.get())
                .map_err(|_| EventError::Request("its method is no text".to_owned()))?,
            None => None,
        };
        let headers = written.headers.map(|headers| Headers::of_json(headers.get())).transpose()?.flatten();
        let request = match written.req {
            Some(request) => {
                budget::check(request.get()).map_err(|excess| match excess {
                    budget::Excess::Elements => EventError::Elements,
                    budget::Excess::Depth => EventError::Depth,
                })?;
                json::unpacked(request.get()).map_err(EventError::Request)?
            }
            None => None,
        };
        Ok(Self { method: method.unwrap_or_default(), request, headers, form: Form::Json })
    }
}

impl Written<'_> {
    /// The frame; nothing where there is none, or something else of that name.
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

/// Where JSON breaks off, without what stands there.
fn place(error: &serde_json::Error) -> String {
    format!("it is wrong at line {}, column {}", error.line(), error.column())
}
