//! Messages as JSON, in the form that protobuf defines for it: names in camel case, 64-bit numbers and times as texts,
//! and nothing for what has its default.

use prost::{Message, Name};
use prost_reflect::DynamicMessage;
use prost_types::value::Kind;
use prost_types::{Any, ListValue, Struct};
use serde_json::Value;

use crate::proto::descriptor_pool;

/// A message that has no form in JSON, such as one with an `Any` of a type that is not known here.
#[derive(Debug, thiserror::Error)]
#[error("the message {name} cannot be written as JSON: {problem}")]
pub struct JsonError {
    name: String,
    problem: String,
}

/// The message as JSON.
///
/// # Errors
/// [`JsonError`]
pub fn json<M: Name>(message: &M) -> Result<Value, JsonError> {
    of_bytes(&M::full_name(), &message.encode_to_vec())
}

/// The message that is packed, with its type under `@type`.
///
/// # Errors
/// [`JsonError`]
pub fn json_of_any(packed: &Any) -> Result<Value, JsonError> {
    of_bytes("google.protobuf.Any", &packed.encode_to_vec())
}

/// A message out of its form in JSON.
///
/// # Errors
/// [`JsonError`] for a text that is none of this message; its problem names the place and not the text.
pub fn from_json<M: Name + Default>(text: &str) -> Result<M, JsonError> {
    let name = M::full_name();
    let error = |problem: String| JsonError { name: name.clone(), problem };
    let descriptor = descriptor_pool()
        .get_message_by_name(&name)
        .ok_or_else(|| error("it is not known here".to_owned()))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor, &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message))
        .map_err(|found| error(format!("line {}, column {} does not fit", found.line(), found.column())))?;
    M::decode(message.encode_to_vec().as_slice()).map_err(|found| error(found.to_string()))
}

/// A JSON object as a `google.protobuf.Struct`, in which every number is a double.
pub fn structure_of_json(object: &serde_json::Map<String, Value>) -> Struct {
    Struct { fields: object.iter().map(|(key, value)| (key.clone(), value_of_json(value))).collect() }
}

fn value_of_json(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        // What is no double cannot come out of JSON without the feature that keeps numbers as texts.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(value_of_json).collect() })
        }
        Value::Object(object) => Kind::StructValue(structure_of_json(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// A `google.protobuf.Struct` as a JSON object.
///
/// # Errors
/// [`JsonError`] for a number that JSON cannot write.
pub fn json_of_structure(value: &Struct) -> Result<Value, JsonError> {
    of_bytes("google.protobuf.Struct", &value.encode_to_vec())
}

fn of_bytes(name: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    let error = |problem: String| JsonError { name: name.to_owned(), problem };
    let descriptor = descriptor_pool()
        .get_message_by_name(name)
        .ok_or_else(|| error("it is not known here".to_owned()))?;
    let message = DynamicMessage::decode(descriptor, bytes).map_err(|found| error(found.to_string()))?;
    serde_json::to_value(&message).map_err(|found| error(found.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::config::{Int64Rules, IntField};
    use crate::proto::connector::{GrantAlreadyExists, TicketRequest};
    use crate::proto::{any, string, structure};

    #[test]
    fn names_numbers_and_packed_messages_have_the_form_of_protobuf() {
        let rules = Some(Int64Rules { gte: Some(1), lte: Some(1800), ..Default::default() });
        let field = IntField { default_value: 300, rules, ..Default::default() };
        let expected = r#"{"defaultValue":"300","rules":{"lte":"1800","gte":"1"}}"#;
        assert_eq!(super::json(&field).unwrap().to_string(), expected);
        let packed = json_of_any(&any(&GrantAlreadyExists {})).unwrap();
        assert_eq!(packed, json!({"@type": "type.googleapis.com/c1.connector.v2.GrantAlreadyExists"}));
        let packed = json_of_any(&crate::proto::packed(&structure([("would", string("wait"))]))).unwrap();
        assert_eq!(packed["value"], json!({"would": "wait"}));
        let unknown = Any { type_url: "type.googleapis.com/no.such.Type".to_owned(), value: Vec::new() };
        assert!(json_of_any(&unknown).is_err());
    }

    #[test]
    fn a_message_is_read_back_and_a_wrong_one_is_not_repeated() {
        let ticket: TicketRequest = from_json(r#"{"displayName": "A", "labels": ["x"]}"#).unwrap();
        assert_eq!((ticket.display_name.as_str(), ticket.labels.len()), ("A", 1));
        let error = from_json::<TicketRequest>(r#"{"hunter2": 1}"#).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("TicketRequest"), "{error}");
    }
}
