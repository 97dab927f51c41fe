//! Messages as JSON, in the form that protobuf defines: names in camel case, 64-bit numbers and times as
//! strings, and no fields with default values.

use prost::{Message, Name};
use prost_reflect::DynamicMessage;
use prost_types::value::Kind;
use prost_types::{Any, ListValue, Struct};
use serde_json::{Number, Value};

use crate::proto::descriptor_pool;

/// A message that cannot be converted to or from JSON, such as a message with an `Any` of an unknown type.
#[derive(Debug, thiserror::Error)]
#[error("the message {name} cannot be written as JSON: {problem}")]
pub struct JsonError {
    name: String,
    problem: String,
}

/// Converts the message to JSON.
///
/// # Errors
/// [`JsonError`]
pub fn json<M: Name>(message: &M) -> Result<Value, JsonError> {
    of_bytes(&M::full_name(), &message.encode_to_vec())
}

/// Converts the packed message to JSON, with its type under `@type`.
///
/// # Errors
/// [`JsonError`]
pub fn json_of_any(packed: &Any) -> Result<Value, JsonError> {
    of_bytes("google.protobuf.Any", &packed.encode_to_vec())
}

/// Reads a message from JSON.
///
/// # Errors
/// [`JsonError`] if the text is not this message. The problem names the position and not the text.
pub fn from_json<M: Name + Default>(text: &str) -> Result<M, JsonError> {
    let name = M::full_name();
    let error = |problem: String| JsonError { name: name.clone(), problem };
    let descriptor =
        descriptor_pool().get_message_by_name(&name).ok_or_else(|| error("it is unknown".to_owned()))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor, &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message))
        .map_err(|found| error(format!("line {}, column {} does not fit", found.line(), found.column())))?;
    M::decode(message.encode_to_vec().as_slice()).map_err(|found| error(found.to_string()))
}

/// Converts a JSON object to a `google.protobuf.Struct`, in which every number is a double.
pub fn structure_of_json(object: &serde_json::Map<String, Value>) -> Struct {
    Struct { fields: object.iter().map(|(key, value)| (key.clone(), value_of_json(value))).collect() }
}

fn value_of_json(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        // JSON numbers are doubles, unless the feature that keeps numbers as text is on.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(value_of_json).collect() })
        }
        Value::Object(object) => Kind::StructValue(structure_of_json(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// Converts a `google.protobuf.Struct` to a JSON object.
///
/// # Errors
/// [`JsonError`] for a number that does not exist in JSON.
pub fn json_of_structure(value: &Struct) -> Result<Value, JsonError> {
    of_bytes("google.protobuf.Struct", &value.encode_to_vec())
}

fn of_bytes(name: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    let error = |problem: String| JsonError { name: name.to_owned(), problem };
    let descriptor =
        descriptor_pool().get_message_by_name(name).ok_or_else(|| error("it is unknown".to_owned()))?;
    let message = DynamicMessage::decode(descriptor, bytes).map_err(|found| error(found.to_string()))?;
    let mut value = serde_json::to_value(&message).map_err(|found| error(found.to_string()))?;
    shorten_numbers(&mut value);
    Ok(value)
}

/// Whole numbers up to this one are exact in a double.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Writes whole doubles without a fraction, as protobuf does: `1`, not `1.0`.
fn shorten_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let double = number.as_f64().filter(|double| number.is_f64() && double.fract() == 0.0);
            if let Some(double) = double.filter(|double| double.abs() <= LARGEST_EXACT) {
                *number = Number::from(double as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shorten_numbers),
        Value::Object(fields) => fields.values_mut().for_each(shorten_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::config::{Int64Rules, IntField};
    use crate::proto::connector::{GrantAlreadyExists, TicketRequest};
    use crate::proto::{any, number, string, structure};

    #[test]
    fn names_numbers_and_packed_messages_have_protobuf_json_form() {
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
    fn whole_doubles_have_no_fraction() {
        let profile = structure([("id", number(1.0)), ("ratio", number(0.5))]);
        let text = json_of_structure(&profile).unwrap().to_string();
        assert_eq!(text, r#"{"id":1,"ratio":0.5}"#);
        let values = vec![number(-2.0), number(9_007_199_254_740_992.0)];
        let list = prost_types::Value { kind: Some(Kind::ListValue(ListValue { values })) };
        let nested = structure([("list", list)]);
        let text = json_of_structure(&nested).unwrap().to_string();
        assert_eq!(text, r#"{"list":[-2,9007199254740992]}"#);
    }

    #[test]
    fn reads_a_message_back_and_does_not_show_an_invalid_one() {
        let ticket: TicketRequest = from_json(r#"{"displayName": "A", "labels": ["x"]}"#).unwrap();
        assert_eq!((ticket.display_name.as_str(), ticket.labels.len()), ("A", 1));
        let error = from_json::<TicketRequest>(r#"{"hunter2": 1}"#).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("TicketRequest"), "{error}");
    }
}
