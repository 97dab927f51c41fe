//! The rules of a descriptor set, compiled for a walk over encoded messages: for every message, the encoding
//! of its fields and the checks for them.

use std::collections::{HashMap, HashSet};

use prost::encoding::WireType;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    OneofDescriptor, Value,
};

use crate::proto::validate::rules::{FieldRules, MapRules, MessageRules, RepeatedRules, field_rules::Type};
use crate::proto::validate::value::{self, Count, RuleError, Unit, ValueRule, WireValue};
use crate::proto::validate::weight::Weights;

/// The checks for every message.
pub(super) struct Table {
    pub(super) messages: Vec<MessagePlan>,
    /// The request messages of all rpcs, by full name.
    requests: HashMap<String, usize>,
    /// The response messages of the services that only other programs serve, by full name.
    answers: HashMap<String, usize>,
}

/// The package of the services that only other programs serve. Their answers are small, unlike the listings
/// of a connector.
const SERVED_BY_OTHERS: &str = "c1.connectorapi.";

/// The encoding of a message and the checks for it.
pub(super) struct MessagePlan {
    /// The name without the package.
    pub(super) name: String,
    /// In the order of their numbers.
    pub(super) fields: Vec<FieldPlan>,
    pub(super) oneofs: Vec<OneofPlan>,
    /// Whether the message, or a message nested in it at any depth, has a rule.
    pub(super) ruled: bool,
}

/// The encoding of a field and the checks for it.
pub(super) struct FieldPlan {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) form: Form,
    pub(super) shape: Shape,
    /// Whether the field is required; only for messages.
    pub(super) required: bool,
    /// Whether an absent field has no value, rather than the default value.
    pub(super) presence: bool,
    /// The oneof that the field is a member of.
    pub(super) oneof: Option<usize>,
    /// Whether the field, or a field nested in it, has a rule.
    pub(super) checked: bool,
    /// The memory in bytes of one record of the field, or of one packed number.
    pub(super) cost: usize,
}

/// A oneof.
pub(super) struct OneofPlan {
    pub(super) name: String,
    /// Whether one of its fields must be set.
    pub(super) required: bool,
    /// The indexes of its fields in the message.
    pub(super) members: Vec<usize>,
}

/// The encoding of a single value.
pub(super) enum Form {
    Varint(Varint),
    Fixed32,
    Fixed64,
    Text,
    Bytes,
    /// A message, as its index in the table.
    Message(usize),
}

/// The types that are encoded as varints, to the extent that comparisons of values need them.
#[derive(Clone, Copy)]
pub(super) enum Varint {
    Bool,
    /// 32 bits; the rest is ignored.
    Short,
    Long,
}

/// The cardinality of a field.
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

/// The rules of a map with string keys.
pub(super) struct MapRule {
    pub(super) count: Count,
    pub(super) keys: Option<ValueRule>,
    pub(super) values: Option<ValueRule>,
    /// The encoding of a value.
    pub(super) form: Form,
}

/// A rule that cannot be enforced, so that the table is not built.
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
    /// An unknown rule or an unknown option next to the rules; a rule that does not fit its field; a pattern
    /// that is not a regular expression.
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
        let by_others = services.iter().filter(|service| service.full_name().starts_with(SERVED_BY_OTHERS));
        let answers = by_others.flat_map(|service| service.methods()).filter_map(|rpc| {
            let name = rpc.output().full_name().to_owned();
            let place = *compiler.places.get(&name)?;
            Some((name, place))
        });
        let (requests, answers) = (requests.collect(), answers.collect());
        Ok(Self { messages, requests, answers })
    }

    /// The plan of a response of a service that only other programs serve; `None` for any other message.
    pub(super) fn answer(&self, full_name: &str) -> Option<&MessagePlan> {
        self.messages.get(*self.answers.get(full_name)?)
    }

    /// The plan of a request message; `None` for any other message.
    pub(super) fn request(&self, full_name: &str) -> Option<&MessagePlan> {
        self.messages.get(*self.requests.get(full_name)?)
    }
}

impl MessagePlan {
    /// The field with this number and its index.
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

    /// The message type of the field's values.
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
    /// The encoding of a single value if the record can have several: packed numbers.
    pub(super) fn unpacked(&self, wire_type: WireType) -> Option<WireType> {
        match self {
            _ if wire_type != WireType::LengthDelimited => None,
            Self::Varint(_) => Some(WireType::Varint),
            Self::Fixed32 => Some(WireType::ThirtyTwoBit),
            Self::Fixed64 => Some(WireType::SixtyFourBit),
            Self::Text | Self::Bytes | Self::Message(_) => None,
        }
    }

    /// The value of an absent field, if rules can apply to it.
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
    /// The number, truncated to this type.
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

/// Whether the message can have rules of the protocol. Google's types and the rules themselves have none, and
/// an entry of a map is checked with the map.
fn is_ours(message: &MessageDescriptor) -> bool {
    let package = message.package_name();
    !message.is_map_entry() && package != "validate" && !package.starts_with("google.")
}

struct Compiler {
    options: Options,
    /// The indexes of the messages in the table, by full name.
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
        // The walk distinguishes entries by text keys.
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

/// The two options that contain rules. A pool without them has no rules.
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

// The rules are destructured by name here and in `value`, so that a new rule in `validate.proto` is a compile
// error until it is enforced.

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

/// Elements are always set, so a rule that requires them is invalid.
fn inner_rule(kind: &Kind, rules: Option<Box<FieldRules>>) -> Result<Option<ValueRule>, RuleError> {
    let rules = rules.unwrap_or_default();
    match rules.message {
        Some(_) => Err(RuleError::Misplaced),
        None => ValueRule::compile(kind, rules.r#type.as_ref()),
    }
}

/// Refuses options at any depth that this program's `validate.proto` does not declare: they could be rules.
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
