//! The rules of a descriptor set, compiled for a walk over encoded messages: for every message, how its
//! fields are encoded and what to ask of them.

use std::collections::{HashMap, HashSet};

use prost::encoding::WireType;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    OneofDescriptor, Value,
};

use crate::proto::validate::rules::{FieldRules, MapRules, MessageRules, RepeatedRules, field_rules::Type};
use crate::proto::validate::value::{self, Count, RuleError, Unit, ValueRule, WireValue};
use crate::proto::validate::weight::Weights;

/// What to check of every message.
pub(super) struct Table {
    pub(super) messages: Vec<MessagePlan>,
    /// The messages that some rpc takes, by their full names.
    requests: HashMap<String, usize>,
}

/// How a message is encoded and what to check of it.
pub(super) struct MessagePlan {
    /// Without its package.
    pub(super) name: String,
    /// In the order of their numbers.
    pub(super) fields: Vec<FieldPlan>,
    pub(super) oneofs: Vec<OneofPlan>,
    /// Whether the message, or one that it holds, however deep, has a rule.
    pub(super) ruled: bool,
}

/// How a field is encoded and what to check of it.
pub(super) struct FieldPlan {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) form: Form,
    pub(super) shape: Shape,
    /// The field must be there; said of messages only.
    pub(super) required: bool,
    /// A field that is not there has no value, not the default one.
    pub(super) presence: bool,
    /// The oneof that the field is a member of.
    pub(super) oneof: Option<usize>,
    /// Whether the field, or something below it, has a rule.
    pub(super) checked: bool,
    /// The bytes that one record of the field, or a packed number of it, takes in memory.
    pub(super) cost: usize,
}

/// A oneof.
pub(super) struct OneofPlan {
    pub(super) name: String,
    /// One of its fields must be there.
    pub(super) required: bool,
    /// The places of its fields in the message.
    pub(super) members: Vec<usize>,
}

/// How a single value is encoded.
pub(super) enum Form {
    Varint(Varint),
    Fixed32,
    Fixed64,
    Text,
    Bytes,
    /// A message, by its place in the table.
    Message(usize),
}

/// The types that are encoded as varints, as far as values are compared.
#[derive(Clone, Copy)]
pub(super) enum Varint {
    Bool,
    /// 32 bits, the rest is ignored.
    Short,
    Long,
}

/// How a field holds its values.
pub(super) enum Shape {
    One(Option<ValueRule>),
    List(ListRule),
    Map(MapRule),
}

/// The rules of a repeated field.
pub(super) struct ListRule {
    pub(super) count: Count,
    pub(super) unique: bool,
    pub(super) items: Option<ValueRule>,
}

/// The rules of a map whose keys are texts.
pub(super) struct MapRule {
    pub(super) count: Count,
    pub(super) keys: Option<ValueRule>,
    pub(super) values: Option<ValueRule>,
    /// How a value is encoded.
    pub(super) form: Form,
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
        let places: HashMap<_, _> = pool
            .all_messages()
            .enumerate()
            .map(|(place, message)| (message.full_name().to_owned(), place))
            .collect();
        let compiler = Compiler { options: Options::of(pool), places, weights: Weights::of(pool) };
        let mut messages =
            pool.all_messages().map(|message| compiler.message(&message)).collect::<Result<Vec<_>, _>>()?;
        mark_checked(&mut messages);
        let services: Vec<_> = pool.services().collect();
        let requests = services.iter().flat_map(|service| service.methods()).filter_map(|rpc| {
            let name = rpc.input().full_name().to_owned();
            let place = *compiler.places.get(&name)?;
            Some((name, place))
        });
        Ok(Self { messages, requests: requests.collect() })
    }

    /// The plan of a message that some rpc takes; nothing for any other.
    pub(super) fn request(&self, full_name: &str) -> Option<&MessagePlan> {
        self.messages.get(*self.requests.get(full_name)?)
    }
}

impl MessagePlan {
    /// The field of this number and its place.
    pub(super) fn field(&self, number: u32) -> Option<(usize, &FieldPlan)> {
        let place = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        Some((place, self.fields.get(place)?))
    }
}

impl FieldPlan {
    fn has_own_rule(&self) -> bool {
        self.required
            || match &self.shape {
                Shape::One(rule) => rule.is_some(),
                Shape::List(list) => list.unique || list.count.is_limited() || list.items.is_some(),
                Shape::Map(map) => map.count.is_limited() || map.keys.is_some() || map.values.is_some(),
            }
    }

    /// The message that a value of the field is.
    fn nested(&self) -> Option<usize> {
        let form = match &self.shape {
            Shape::Map(map) => &map.form,
            Shape::One(_) | Shape::List(_) => &self.form,
        };
        match form {
            Form::Message(place) => Some(*place),
            _ => None,
        }
    }
}

impl Form {
    /// How a single value is encoded, where the record may hold several: numbers that are packed.
    pub(super) fn unpacked(&self, wire_type: WireType) -> Option<WireType> {
        match self {
            _ if wire_type != WireType::LengthDelimited => None,
            Self::Varint(_) => Some(WireType::Varint),
            Self::Fixed32 => Some(WireType::ThirtyTwoBit),
            Self::Fixed64 => Some(WireType::SixtyFourBit),
            Self::Text | Self::Bytes | Self::Message(_) => None,
        }
    }

    /// The value of a field that is not on the wire, as far as rules can be about it.
    pub(super) fn default_value(&self) -> Option<WireValue<'static>> {
        match self {
            Self::Varint(_) => Some(WireValue::Varint(0)),
            Self::Text => Some(WireValue::Text("")),
            Self::Bytes => Some(WireValue::Bytes(&[])),
            Self::Message(_) => Some(WireValue::Message(&[])),
            Self::Fixed32 | Self::Fixed64 => None,
        }
    }
}

impl Varint {
    /// What is left of the number in this type.
    pub(super) fn value(self, number: u64) -> u64 {
        match self {
            Self::Bool => u64::from(number != 0),
            Self::Short => number & u64::from(u32::MAX),
            Self::Long => number,
        }
    }
}

/// Marks the fields and messages from which rules can be reached.
fn mark_checked(messages: &mut [MessagePlan]) {
    let mut ruled = HashSet::new();
    loop {
        let before = ruled.len();
        for (place, message) in messages.iter_mut().enumerate() {
            for field in &mut message.fields {
                field.checked =
                    field.has_own_rule() || field.nested().is_some_and(|nested| ruled.contains(&nested));
            }
            message.ruled = message.oneofs.iter().any(|oneof| oneof.required)
                || message.fields.iter().any(|field| field.checked);
            if message.ruled {
                ruled.insert(place);
            }
        }
        if ruled.len() == before {
            return;
        }
    }
}

/// Google's types and the rules themselves hold no rules of ours; an entry of a map is checked with the
/// map.
fn is_ours(message: &MessageDescriptor) -> bool {
    let package = message.package_name();
    !message.is_map_entry() && package != "validate" && !package.starts_with("google.")
}

struct Compiler {
    options: Options,
    /// The places of the messages in the table, by their full names.
    places: HashMap<String, usize>,
    weights: Weights,
}

impl Compiler {
    fn message(&self, message: &MessageDescriptor) -> Result<MessagePlan, TableError> {
        let ours = is_ours(message);
        if ours {
            known(&message.options()).map_err(at(message.full_name()))?;
        }
        let mut descriptors: Vec<_> = message.fields().collect();
        descriptors.sort_by_key(FieldDescriptor::number);
        let mut oneofs = Vec::new();
        for oneof in message.oneofs() {
            let required = ours && self.options.is_required(&oneof).map_err(at(oneof.full_name()))?;
            let is_member = |field: &FieldDescriptor| field.containing_oneof().as_ref() == Some(&oneof);
            let members = descriptors.iter().enumerate().filter(|(_, field)| is_member(field));
            let members = members.map(|(place, _)| place).collect();
            oneofs.push(OneofPlan { name: oneof.name().to_owned(), required, members });
        }
        let mut fields = Vec::new();
        for (place, field) in descriptors.iter().enumerate() {
            let rules = if ours { self.options.rules_of(field) } else { Ok(FieldRules::default()) };
            let plan = rules.and_then(|rules| self.field(field, &rules)).map_err(at(field.full_name()))?;
            let oneof = oneofs.iter().position(|oneof| oneof.members.contains(&place));
            fields.push(FieldPlan { oneof, ..plan });
        }
        Ok(MessagePlan { name: message.name().to_owned(), fields, oneofs, ruled: false })
    }

    fn field(&self, field: &FieldDescriptor, rules: &FieldRules) -> Result<FieldPlan, RuleError> {
        let required = match rules.message {
            Some(MessageRules { required }) => required.unwrap_or(false),
            None => false,
        };
        if required && !(field.supports_presence() && matches!(field.kind(), Kind::Message(_))) {
            return Err(RuleError::Misplaced);
        }
        let shape = if field.is_map() {
            Shape::Map(self.map(field, rules)?)
        } else if field.is_list() {
            Shape::List(list_rule(field, rules)?)
        } else {
            Shape::One(ValueRule::compile(&field.kind(), rules.r#type.as_ref())?)
        };
        Ok(FieldPlan {
            number: field.number(),
            name: field.name().to_owned(),
            form: self.form(&field.kind())?,
            shape,
            required,
            presence: field.supports_presence(),
            oneof: None,
            checked: false,
            cost: self.weights.record(field),
        })
    }

    fn map(&self, field: &FieldDescriptor, rules: &FieldRules) -> Result<MapRule, RuleError> {
        let MapRules { min_pairs, max_pairs, keys, values } = match &rules.r#type {
            None => MapRules::default(),
            Some(Type::Map(map)) => map.as_ref().clone(),
            Some(_) => return Err(RuleError::Misplaced),
        };
        let Kind::Message(entry) = field.kind() else { return Err(RuleError::Misplaced) };
        let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        // The walk tells entries apart by texts.
        if key != Kind::String {
            return Err(RuleError::Misplaced);
        }
        Ok(MapRule {
            count: Count::new(min_pairs, max_pairs, Unit::Entries)?,
            keys: inner_rule(&key, keys)?,
            values: inner_rule(&value, values)?,
            form: self.form(&value)?,
        })
    }

    fn form(&self, kind: &Kind) -> Result<Form, RuleError> {
        Ok(match kind {
            Kind::Bool => Form::Varint(Varint::Bool),
            Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Enum(_) => Form::Varint(Varint::Short),
            Kind::Int64 | Kind::Uint64 | Kind::Sint64 => Form::Varint(Varint::Long),
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Form::Fixed32,
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Form::Fixed64,
            Kind::String => Form::Text,
            Kind::Bytes => Form::Bytes,
            Kind::Message(message) => {
                Form::Message(*self.places.get(message.full_name()).ok_or(RuleError::Misplaced)?)
            }
        })
    }
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

    fn is_required(&self, oneof: &OneofDescriptor) -> Result<bool, RuleError> {
        let options = oneof.options();
        known(&options)?;
        let Some(extension) = &self.oneof else { return Ok(false) };
        Ok(options.get_extension(extension).as_bool().unwrap_or(false))
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

fn list_rule(field: &FieldDescriptor, rules: &FieldRules) -> Result<ListRule, RuleError> {
    let RepeatedRules { min_items, max_items, unique, items } = match &rules.r#type {
        None => RepeatedRules::default(),
        Some(Type::Repeated(list)) => list.as_ref().clone(),
        Some(_) => return Err(RuleError::Misplaced),
    };
    let unique = unique.unwrap_or(false);
    if unique && !value::is_comparable(&field.kind()) {
        return Err(RuleError::Misplaced);
    }
    Ok(ListRule {
        count: Count::new(min_items, max_items, Unit::Items)?,
        unique,
        items: inner_rule(&field.kind(), items)?,
    })
}

/// Elements are always there, so a rule that wants them set has no place on them.
fn inner_rule(kind: &Kind, rules: Option<Box<FieldRules>>) -> Result<Option<ValueRule>, RuleError> {
    let rules = rules.unwrap_or_default();
    match rules.message {
        Some(_) => Err(RuleError::Misplaced),
        None => ValueRule::compile(kind, rules.r#type.as_ref()),
    }
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
