//! Small helpers for annotations, structs and times.

use std::collections::BTreeMap;

use prost::{DecodeError, Message as _, Name};
use prost_types::value::Kind;
use prost_types::{Any, Struct, Timestamp, Value};
use time::OffsetDateTime;

/// Packs a message the way annotations want it: the type URL is `type.googleapis.com/` and the name as
/// the protocol spells it, which is not always Rust's (`BatonID`).
pub fn any<M: Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Takes a message out of an `Any`: nothing when another type is packed, an error when the type is
/// right but the bytes are not. Whatever stands before the last `/` of the type URL is ignored.
pub fn unpack<M: Name + Default>(any: &Any) -> Option<Result<M, DecodeError>> {
    is::<M>(any).then(|| M::decode(any.value.as_slice()))
}

/// The first annotation of this type: nothing when there is none, an error when its bytes are not such
/// a message. For a marker without fields, `is_some()` on the answer is the question.
pub fn find_annotation<M: Name + Default>(annotations: &[Any]) -> Option<Result<M, DecodeError>> {
    annotations.iter().find_map(unpack)
}

/// A `google.protobuf.Struct` out of pairs; of two with one key, the last counts.
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

/// Packs a `Struct`, whose message is Google's, so that [`any`] does not know its name.
pub fn packed(value: &Struct) -> Any {
    Any { type_url: "type.googleapis.com/google.protobuf.Struct".to_owned(), value: value.encode_to_vec() }
}

/// A text in a `Struct`.
pub fn string(value: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(value.into())) }
}

/// A number in a `Struct`, where every number is a double.
pub fn number(value: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(value)) }
}

/// A yes or no in a `Struct`.
pub fn boolean(value: bool) -> Value {
    Value { kind: Some(Kind::BoolValue(value)) }
}

/// The same instant as a proto timestamp, to the nanosecond, whatever the offset.
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    // Both count forward from the second below, also before 1970; a nanosecond fits an i32.
    Timestamp { seconds: time.unix_timestamp(), nanos: time.nanosecond() as i32 }
}

fn is<M: Name>(any: &Any) -> bool {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    name == M::full_name()
}
