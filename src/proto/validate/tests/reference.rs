//! The rules on a decoded message, implemented in the simplest way.

use std::collections::HashSet;

use prost::Message;
use prost_reflect::{DynamicMessage, MapKey, Value};

use crate::proto::validate::table::{FieldPlan, Form, MessagePlan, Shape, Table};
use crate::proto::validate::value::{ValueRule, WireValue};

pub(super) struct Broken {
    pub(super) path: String,
    pub(super) rule: String,
}

impl Broken {
    fn below(self, name: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Self { path: format!("{name}{dot}{}", self.path), rule: self.rule }
    }
}

/// The first rule that the message breaks.
pub(super) fn check(table: &Table, plan: &MessagePlan, message: &DynamicMessage) -> Result<(), Broken> {
    for field in &plan.fields {
        check_field(table, field, message).map_err(|broken| broken.below(&field.name))?;
    }
    for oneof in plan.oneofs.iter().filter(|oneof| oneof.required) {
        let is_set = |place: &usize| message.has_field_by_number(plan.fields[*place].number);
        if !oneof.members.iter().any(is_set) {
            refuse(Some("must have one of its fields set".to_owned()))
                .map_err(|broken| broken.below(&oneof.name))?;
        }
    }
    Ok(())
}

fn check_field(table: &Table, field: &FieldPlan, message: &DynamicMessage) -> Result<(), Broken> {
    if field.presence && !message.has_field_by_number(field.number) {
        return refuse(field.required.then(|| "must be set".to_owned()));
    }
    let value = message.get_field_by_number(field.number).unwrap();
    match (&field.shape, value.as_ref()) {
        (Shape::One(rule), value) => check_value(table, &field.form, rule.as_ref(), value),
        (Shape::List(list), Value::List(items)) => {
            refuse(list.count.broken_by(items.len()))?;
            let mut seen = HashSet::new();
            if list.unique && !items.iter().all(|item| seen.insert(format!("{item:?}"))) {
                refuse(Some("must not hold a value twice".to_owned()))?;
            }
            items.iter().enumerate().try_for_each(|(index, item)| {
                check_value(table, &field.form, list.items.as_ref(), item)
                    .map_err(|broken| broken.below(&format!("[{index}]")))
            })
        }
        (Shape::Map(map), Value::Map(entries)) => {
            refuse(map.count.broken_by(entries.len()))?;
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            entries.into_iter().try_for_each(|(key, value)| {
                let MapKey::String(key) = key else { panic!("{key:?}") };
                let reason = map.keys.as_ref().and_then(|rule| rule.broken_by(WireValue::Text(key)));
                refuse(reason.map(|reason| format!("has a key that {reason}")))
                    .and_then(|()| check_value(table, &map.form, map.values.as_ref(), value))
                    .map_err(|broken| broken.below("[*]"))
            })
        }
        (shape, value) => panic!("{} {value:?}", matches!(shape, Shape::List(_))),
    }
}

fn check_value(table: &Table, form: &Form, rule: Option<&ValueRule>, value: &Value) -> Result<(), Broken> {
    if let Some(rule) = rule {
        refuse(match value {
            Value::I64(number) => rule.broken_by(WireValue::Varint(*number as u64)),
            Value::U32(number) => rule.broken_by(WireValue::Varint(u64::from(*number))),
            Value::EnumNumber(number) => rule.broken_by(WireValue::Varint(i64::from(*number) as u64)),
            Value::String(text) => rule.broken_by(WireValue::Text(text)),
            Value::Bytes(bytes) => rule.broken_by(WireValue::Bytes(bytes)),
            Value::Message(message) => rule.broken_by(WireValue::Message(&[&message.encode_to_vec()])),
            other => panic!("{other:?}"),
        })?;
    }
    match (form, value) {
        (Form::Message(nested), Value::Message(message)) => check(table, &table.messages[*nested], message),
        _ => Ok(()),
    }
}

fn refuse(reason: Option<String>) -> Result<(), Broken> {
    reason.map_or(Ok(()), |rule| Err(Broken { path: String::new(), rule }))
}
