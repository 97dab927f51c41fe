//! The rules of a descriptor set, compiled for walking: which fields of which message to look at, and
//! what to ask of them. Messages that no rule can reach are left out, and so are fields.

use std::collections::{HashMap, HashSet};

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    OneofDescriptor, Value,
};

use super::rules::{FieldRules, MapRules, MessageRules, RepeatedRules, field_rules::Type};
use super::value::{self, Count, RuleError, Unit, ValueRule};

/// What to check, by the full name of the message.
pub(super) struct Table {
    messages: HashMap<String, MessageCheck>,
}

/// The checks of one message.
pub(super) struct MessageCheck {
    pub(super) descriptor: MessageDescriptor,
    /// In the order of their numbers.
    pub(super) fields: Vec<FieldCheck>,
    pub(super) required_oneofs: Vec<OneofDescriptor>,
}

/// The checks of one field.
pub(super) struct FieldCheck {
    pub(super) descriptor: FieldDescriptor,
    /// The field must be there; said of messages only.
    pub(super) required: bool,
    pub(super) shape: Shape,
}

/// How a field holds its values.
pub(super) enum Shape {
    One(ElementCheck),
    List(ListCheck),
    Map(MapCheck),
}

/// The checks of one value.
#[derive(Default)]
pub(super) struct ElementCheck {
    pub(super) rule: Option<ValueRule>,
    /// The full name of the message that the value is, if it is one of ours.
    pub(super) nested: Option<String>,
}

/// The checks of a repeated field.
pub(super) struct ListCheck {
    pub(super) count: Count,
    pub(super) unique: bool,
    pub(super) items: ElementCheck,
}

/// The checks of a map.
pub(super) struct MapCheck {
    pub(super) count: Count,
    pub(super) keys: Option<ValueRule>,
    pub(super) values: ElementCheck,
}

/// A rule that cannot be enforced, so that the table is not made.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {reason}")]
pub(super) struct TableError {
    name: String,
    reason: RuleError,
}

impl Table {
    /// Compiles every rule in the pool.
    ///
    /// # Errors
    /// A rule, or an option beside the rules, that nothing here enforces; a rule that does not fit its
    /// field; a pattern that is no regular expression.
    pub(super) fn build(pool: &DescriptorPool) -> Result<Self, TableError> {
        let options = Options::of(pool);
        let mut messages = HashMap::new();
        for message in pool.all_messages().filter(is_ours) {
            messages.insert(message.full_name().to_owned(), options.compile(message)?);
        }
        let ruled = reachable_by_rules(&messages);
        for message in messages.values_mut() {
            message.fields.retain(|field| field.has_own_rule() || field.leads_into(&ruled));
        }
        messages.retain(|name, _| ruled.contains(name));
        Ok(Self { messages })
    }

    /// The checks of a message; nothing when there is nothing to check.
    pub(super) fn message(&self, full_name: &str) -> Option<&MessageCheck> {
        self.messages.get(full_name)
    }
}

impl FieldCheck {
    fn has_own_rule(&self) -> bool {
        self.required
            || match &self.shape {
                Shape::One(element) => element.rule.is_some(),
                Shape::List(list) => list.unique || list.count.is_limited() || list.items.rule.is_some(),
                Shape::Map(map) => map.count.is_limited() || map.keys.is_some() || map.values.rule.is_some(),
            }
    }

    fn leads_into(&self, names: &HashSet<String>) -> bool {
        let element = match &self.shape {
            Shape::One(element) => element,
            Shape::List(list) => &list.items,
            Shape::Map(map) => &map.values,
        };
        element.nested.as_ref().is_some_and(|name| names.contains(name))
    }
}

/// The names of the messages that have a rule, or hold a message that does, however deep.
fn reachable_by_rules(messages: &HashMap<String, MessageCheck>) -> HashSet<String> {
    let mut ruled = HashSet::new();
    loop {
        let before = ruled.len();
        for (name, message) in messages {
            let has_rule = !message.required_oneofs.is_empty()
                || message.fields.iter().any(|field| field.has_own_rule() || field.leads_into(&ruled));
            if has_rule {
                ruled.insert(name.clone());
            }
        }
        if ruled.len() == before {
            return ruled;
        }
    }
}

/// Google's types and the rules themselves hold no rules of ours; an entry of a map is looked at with the
/// map.
fn is_ours(message: &MessageDescriptor) -> bool {
    let package = message.package_name();
    !message.is_map_entry() && package != "validate" && !package.starts_with("google.")
}

/// The two options that carry rules. A pool without them states no rules.
struct Options {
    field: Option<ExtensionDescriptor>,
    oneof: Option<ExtensionDescriptor>,
}

impl Options {
    fn of(pool: &DescriptorPool) -> Self {
        Self {
            field: pool.get_extension_by_name("validate.rules"),
            oneof: pool.get_extension_by_name("validate.required"),
        }
    }

    fn compile(&self, message: MessageDescriptor) -> Result<MessageCheck, TableError> {
        known(&message.options()).map_err(at(message.full_name()))?;
        let mut fields = Vec::new();
        for field in message.fields() {
            fields.push(self.field_check(field.clone()).map_err(at(field.full_name()))?);
        }
        let mut required_oneofs = Vec::new();
        for oneof in message.oneofs() {
            if self.is_required(&oneof).map_err(at(oneof.full_name()))? {
                required_oneofs.push(oneof);
            }
        }
        Ok(MessageCheck { descriptor: message, fields, required_oneofs })
    }

    fn is_required(&self, oneof: &OneofDescriptor) -> Result<bool, RuleError> {
        let options = oneof.options();
        known(&options)?;
        let Some(extension) = &self.oneof else { return Ok(false) };
        Ok(options.get_extension(extension).as_bool().unwrap_or(false))
    }

    fn field_check(&self, field: FieldDescriptor) -> Result<FieldCheck, RuleError> {
        let rules = self.rules_of(&field)?;
        let required = match rules.message {
            Some(MessageRules { required }) => required.unwrap_or(false),
            None => false,
        };
        if required && !(field.supports_presence() && matches!(field.kind(), Kind::Message(_))) {
            return Err(RuleError::Misplaced);
        }
        let shape = if field.is_map() {
            Shape::Map(map_check(&field, &rules)?)
        } else if field.is_list() {
            Shape::List(list_check(&field, &rules)?)
        } else {
            Shape::One(element_check(&field.kind(), &rules)?)
        };
        Ok(FieldCheck { descriptor: field, required, shape })
    }

    fn rules_of(&self, field: &FieldDescriptor) -> Result<FieldRules, RuleError> {
        let options = field.options();
        known(&options)?;
        match &self.field {
            Some(extension) if options.has_extension(extension) => {
                match options.get_extension(extension).as_ref() {
                    Value::Message(rules) => Ok(rules.transcode_to::<FieldRules>()?),
                    _ => Err(RuleError::Misplaced),
                }
            }
            _ => Ok(FieldRules::default()),
        }
    }
}

// The rules are taken apart by name below and in `value`, so that a rule which `validate.proto` gains is
// a compile error until something enforces it.

fn list_check(field: &FieldDescriptor, rules: &FieldRules) -> Result<ListCheck, RuleError> {
    let RepeatedRules { min_items, max_items, unique, items } = match &rules.r#type {
        None => RepeatedRules::default(),
        Some(Type::Repeated(list)) => list.as_ref().clone(),
        Some(_) => return Err(RuleError::Misplaced),
    };
    let unique = unique.unwrap_or(false);
    if unique && !value::is_comparable(&field.kind()) {
        return Err(RuleError::Misplaced);
    }
    Ok(ListCheck {
        count: Count::new(min_items, max_items, Unit::Items)?,
        unique,
        items: inner_check(&field.kind(), items)?,
    })
}

fn map_check(field: &FieldDescriptor, rules: &FieldRules) -> Result<MapCheck, RuleError> {
    let MapRules { min_pairs, max_pairs, keys, values } = match &rules.r#type {
        None => MapRules::default(),
        Some(Type::Map(map)) => map.as_ref().clone(),
        Some(_) => return Err(RuleError::Misplaced),
    };
    let Kind::Message(entry) = field.kind() else { return Err(RuleError::Misplaced) };
    Ok(MapCheck {
        count: Count::new(min_pairs, max_pairs, Unit::Entries)?,
        keys: inner_check(&entry.map_entry_key_field().kind(), keys)?.rule,
        values: inner_check(&entry.map_entry_value_field().kind(), values)?,
    })
}

/// Elements are always there, so a rule that wants them set has no place on them.
fn inner_check(kind: &Kind, rules: Option<Box<FieldRules>>) -> Result<ElementCheck, RuleError> {
    let rules = rules.unwrap_or_default();
    match rules.message {
        Some(_) => Err(RuleError::Misplaced),
        None => element_check(kind, &rules),
    }
}

fn element_check(kind: &Kind, rules: &FieldRules) -> Result<ElementCheck, RuleError> {
    let nested = match kind {
        Kind::Message(message) if is_ours(message) => Some(message.full_name().to_owned()),
        _ => None,
    };
    Ok(ElementCheck { rule: ValueRule::compile(kind, rules.r#type.as_ref())?, nested })
}

/// Refuses options that this program's `validate.proto` does not declare, however deep: they may be rules.
fn known(options: &DynamicMessage) -> Result<(), RuleError> {
    fn nested(value: &Value) -> Result<(), RuleError> {
        match value {
            Value::Message(message) => known(message),
            Value::List(values) => values.iter().try_for_each(nested),
            _ => Ok(()),
        }
    }
    if let Some(unknown) = options.unknown_fields().next() {
        return Err(RuleError::Unknown(format!("option {}", unknown.number())));
    }
    options.fields().try_for_each(|(_, value)| nested(value))?;
    options.extensions().try_for_each(|(_, value)| nested(value))
}

fn at(name: &str) -> impl Fn(RuleError) -> TableError {
    move |reason| TableError { name: name.to_owned(), reason }
}
