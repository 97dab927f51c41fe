//! Small helpers for annotations, structs and times.

use std::collections::BTreeMap;

use prost::{DecodeError, Message as _, Name};
use prost_types::value::Kind;
use prost_types::{Any, Struct, Timestamp, Value};
use time::OffsetDateTime;

/// Packs a message for annotations. The type URL is `type.googleapis.com/` and the name in the protocol's
/// spelling, which can differ from Rust's (`BatonID`).
pub fn any<M: Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Unpacks a message from an `Any`: `None` if another type is packed, an error if the type matches but the
/// bytes are invalid. The part of the type URL before the last `/` is ignored.
pub fn unpack<M: Name + Default>(any: &Any) -> Option<Result<M, DecodeError>> {
    is::<M>(any).then(|| M::decode(any.value.as_slice()))
}

/// The first annotation of this type: `None` if there is none, an error if its bytes are invalid. For a
/// marker without fields, use `is_some()`.
pub fn find_annotation<M: Name + Default>(annotations: &[Any]) -> Option<Result<M, DecodeError>> {
    annotations.iter().find_map(unpack)
}

/// Builds a `google.protobuf.Struct` from pairs. If a key is repeated, the last pair counts.
///
/// ```
/// use baton_retool::proto::{number, string, structure};
///
/// let profile = structure([("email", string("ada@example.com")), ("organization_id", number(1.0))]);
/// assert_eq!(profile.fields.len(), 2);
/// ```
pub fn structure<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key.into(), value)).collect::<BTreeMap<_, _>>() }
}

/// Packs a `Struct`. Its message belongs to Google, so [`any`] does not know its name.
pub fn packed(value: &Struct) -> Any {
    Any { type_url: "type.googleapis.com/google.protobuf.Struct".to_owned(), value: value.encode_to_vec() }
}

/// A string value of a `Struct`.
pub fn string(value: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(value.into())) }
}

/// A number value of a `Struct`, in which every number is a double.
pub fn number(value: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(value)) }
}

/// A boolean value of a `Struct`.
pub fn boolean(value: bool) -> Value {
    Value { kind: Some(Kind::BoolValue(value)) }
}

/// Converts to a proto timestamp of the same instant, with nanoseconds, for any offset.
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    // Both count forward from the start of the second, also before 1970; nanoseconds fit an i32.
    Timestamp { seconds: time.unix_timestamp(), nanos: time.nanosecond() as i32 }
}

fn is<M: Name>(any: &Any) -> bool {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    name == M::full_name()
}
