//! The headers of a call: a list of values for each name.

use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use serde_json::Value as Json;

/// Largest headers of a call, in bytes as sent.
const LARGEST: usize = 64 * 1024;

/// Headers that are not passed to the services: those of a connection, and the token, which has been checked.
const NOT_PASSED_ON: [&str; 11] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "host",
    "te",
    "transfer-encoding",
];

/// The headers of a call, with names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headers(Vec<(String, Vec<String>)>);

/// The headers are malformed or too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadersError {
    #[error("the headers take more than {}", crate::numbers::size(LARGEST))]
    TooLarge,
    #[error("the headers are not an object")]
    NoObject,
}

impl Headers {
    /// Reads a JSON value; `None` for null.
    ///
    /// # Errors
    /// [`HeadersError`]
    pub(super) fn of_json(text: &str) -> Result<Option<Self>, HeadersError> {
        if text.len() > LARGEST {
            return Err(HeadersError::TooLarge);
        }
        let fields = match serde_json::from_str(text) {
            Ok(Json::Null) => return Ok(None),
            Ok(Json::Object(fields)) => fields,
            _ => return Err(HeadersError::NoObject),
        };
        Ok(Some(Self::collect(fields.into_iter().filter_map(|(name, value)| match value {
            Json::Array(items) => {
                let text = |item| if let Json::String(text) = item { Some(text) } else { None };
                Some((name, items.into_iter().filter_map(text).collect()))
            }
            _ => None,
        }))))
    }

    /// Reads an encoded `google.protobuf.Struct`.
    ///
    /// # Errors
    /// [`HeadersError`]
    pub(super) fn of_struct(bytes: &[u8]) -> Result<Self, HeadersError> {
        if bytes.len() > LARGEST {
            return Err(HeadersError::TooLarge);
        }
        let fields = Struct::decode(bytes).map_err(|_| HeadersError::NoObject)?.fields;
        let texts = |value: Value| match value.kind {
            Some(Kind::StringValue(text)) => Some(text),
            _ => None,
        };
        Ok(Self::collect(fields.into_iter().filter_map(|(name, value)| match value.kind {
            Some(Kind::ListValue(list)) => Some((name, list.values.into_iter().filter_map(texts).collect())),
            _ => None,
        })))
    }

    fn collect(fields: impl Iterator<Item = (String, Vec<String>)>) -> Self {
        let lower = |(name, mut values): (String, Vec<String>)| {
            values.retain(|value| !value.is_empty());
            (name.to_ascii_lowercase(), values)
        };
        Self(fields.map(lower).collect())
    }

    /// The first value of this name.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        let of_name = self.0.iter().filter(|(of, _)| of == name);
        of_name.flat_map(|(_, values)| values).map(String::as_str).next()
    }

    /// The headers for the services, without those that HTTP does not allow.
    pub(super) fn for_services(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, values) in &self.0 {
            if NOT_PASSED_ON.contains(&name.as_str()) {
                continue;
            }
            let Ok(name) = HeaderName::try_from(name.as_str()) else { continue };
            for value in values.iter().filter_map(|value| HeaderValue::try_from(value.as_str()).ok()) {
                map.append(name.clone(), value);
            }
        }
        map
    }
}
