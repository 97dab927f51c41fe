//! Enforces the validation rules that `proto/` declares on fields and oneofs.
//!
//! There is one mechanism for all messages: the rules are read out of the descriptor set once, compiled
//! into a table by message, and a request is walked along the table. Nothing here names a message of the
//! protocol, so a rule that is added to a `.proto` file holds from the next build on.
//!
//! What the rules mean follows the Go servers of the protocol: a rule holds for the default value too
//! unless `ignore_empty` says otherwise; what is absent (a message, an unset member of a oneof, an unset
//! `optional`) is checked for `required` only; what is packed inside an `Any` is not looked at.

use std::sync::LazyLock;

use prost_reflect::{DynamicMessage, FieldDescriptor, Value};

pub use formats::is_email;
pub use rules::StringRules;
use table::{ElementCheck, FieldCheck, MessageCheck, Shape, Table};

mod formats;
mod table;
mod value;

/// The rules as generated from `proto/validate/validate.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
mod rules {
    tonic::include_proto!("validate");
}

/// The first rule that a message breaks. Of what the message holds, it repeats numbers and lengths only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {message}: {field}{}{rule}", if .field.is_empty() { "" } else { " " })]
pub struct Violation {
    /// The message that was checked, without its package.
    pub message: String,
    /// The way to the field as the protocol spells it, such as `resource.id.resource_type`,
    /// `list[3].id` or `sources[*]` for an entry of a map. Empty when the message as a whole is wrong.
    pub field: String,
    /// What was expected and how it was missed, to be read after the field:
    /// `must be at most 250, is 300`.
    pub rule: String,
}

/// Compiles the rules now instead of with the first request.
pub(super) fn warm_up() {
    Table::of_the_protocol();
}

/// Checks an encoded message against the rules of its type, those of nested messages included.
///
/// A type that the descriptor set does not have, or that no rule can reach, passes unseen.
///
/// # Errors
/// The first broken rule in the order of the field numbers, a required oneof after them. Bytes that are
/// no such message count as one, about the message as a whole.
pub fn check(full_name: &str, encoded: &[u8]) -> Result<(), Violation> {
    let table = Table::of_the_protocol();
    let Some(rules) = table.message(full_name) else { return Ok(()) };
    let violation = |field, rule| Violation { message: rules.descriptor.name().to_owned(), field, rule };
    let message = DynamicMessage::decode(rules.descriptor.clone(), encoded)
        .map_err(|_| violation(String::new(), "cannot be decoded".to_owned()))?;
    rules.check(table, &message).map_err(|broken| violation(broken.path, broken.rule))
}

impl Table {
    /// The rules of [`super::FILE_DESCRIPTOR_SET`], compiled once.
    // A rule that cannot be compiled is one that a change to `proto/` brought in. Going on without it
    // would let through what it forbids; the tests build this very table.
    #[allow(clippy::expect_used)]
    fn of_the_protocol() -> &'static Self {
        static TABLE: LazyLock<Table> =
            LazyLock::new(|| Table::build(super::descriptor_pool()).expect("every rule is known"));
        &TABLE
    }
}

/// A broken rule on its way up to the message that was asked about; each level puts itself in front.
struct Broken {
    path: String,
    rule: String,
}

impl Broken {
    fn here(rule: String) -> Self {
        Self { path: String::new(), rule }
    }

    fn in_field(mut self, name: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    fn in_element(self, index: impl std::fmt::Display) -> Self {
        self.in_field(&format!("[{index}]"))
    }
}

impl MessageCheck {
    fn check(&self, table: &Table, message: &DynamicMessage) -> Result<(), Broken> {
        for field in &self.fields {
            field.check(table, message).map_err(|broken| broken.in_field(field.descriptor.name()))?;
        }
        for oneof in &self.required_oneofs {
            if !oneof.fields().any(|field| message.has_field(&field)) {
                return Err(Broken::here("must have one of its fields set".to_owned()).in_field(oneof.name()));
            }
        }
        Ok(())
    }
}

impl FieldCheck {
    fn check(&self, table: &Table, message: &DynamicMessage) -> Result<(), Broken> {
        if is_absent(message, &self.descriptor) {
            return if self.required { Err(Broken::here("must be set".to_owned())) } else { Ok(()) };
        }
        let value = message.get_field(&self.descriptor);
        match (&self.shape, value.as_ref()) {
            (Shape::List(list), Value::List(items)) => {
                refuse(list.count.broken_by(items.len()))?;
                if list.unique && value::has_duplicate(items) {
                    return Err(Broken::here("must not hold a value twice".to_owned()));
                }
                items.iter().enumerate().try_for_each(|(index, item)| {
                    list.items.check(table, item).map_err(|broken| broken.in_element(index))
                })
            }
            (Shape::Map(map), Value::Map(entries)) => {
                refuse(map.count.broken_by(entries.len()))?;
                // A map has no order of its own; with this one the same message breaks the same rule.
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                entries.into_iter().try_for_each(|(key, value)| {
                    // The key is not repeated: it came from outside.
                    let key = map.keys.as_ref().and_then(|rule| rule.broken_by(&key.clone().into()));
                    refuse(key.map(|reason| format!("has a key that {reason}")))
                        .and_then(|()| map.values.check(table, value))
                        .map_err(|broken| broken.in_element("*"))
                })
            }
            (Shape::One(element), value) => element.check(table, value),
            // The table is made from the very descriptor that shaped the value.
            (Shape::List(_) | Shape::Map(_), _) => Ok(()),
        }
    }
}

impl ElementCheck {
    fn check(&self, table: &Table, value: &Value) -> Result<(), Broken> {
        if let Some(rule) = &self.rule {
            refuse(rule.broken_by(value))?;
        }
        match (self.nested.as_deref().and_then(|name| table.message(name)), value) {
            (Some(rules), Value::Message(message)) => rules.check(table, message),
            _ => Ok(()),
        }
    }
}

fn is_absent(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    field.supports_presence() && !message.has_field(field)
}

fn refuse(reason: Option<String>) -> Result<(), Broken> {
    reason.map_or(Ok(()), |rule| Err(Broken::here(rule)))
}
