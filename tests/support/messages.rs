//! Random messages of every request that the connector serves.

use baton_retool::proto::descriptor_pool;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ServiceDescriptor, Value,
};
use rand::RngExt;
use rand::rngs::StdRng;

/// The deepest nesting of messages.
const DEPTH: usize = 4;

/// Every service that a connector serves: without `SchemaService`, which no connector serves, and without
/// ConductorOne's services.
pub(crate) fn services() -> impl Iterator<Item = ServiceDescriptor> {
    let elsewhere = ["SchemaService", "BatonService", "ConnectorConfigService"];
    descriptor_pool().services().filter(move |service| !elsewhere.contains(&service.name()))
}

/// Path and request of every method that a connector serves.
pub(crate) fn methods() -> Vec<(String, MessageDescriptor)> {
    let methods: Vec<_> = services()
        .flat_map(|service| {
            let method = |rpc: prost_reflect::MethodDescriptor| {
                (format!("{}/{}", rpc.parent_service().full_name(), rpc.name()), rpc.input())
            };
            service.methods().map(method).collect::<Vec<_>>()
        })
        .collect();
    assert!(methods.len() >= 32);
    methods
}

/// A message with a random subset of its fields, and with texts from `texts`.
pub(crate) fn random(random: &mut StdRng, descriptor: &MessageDescriptor, texts: &[&str]) -> DynamicMessage {
    fill(random, descriptor, texts, 0)
}

fn fill(random: &mut StdRng, descriptor: &MessageDescriptor, texts: &[&str], depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let leaf = !matches!(field.kind(), Kind::Message(_));
        if random.random_bool(0.75) && (leaf || depth < DEPTH) {
            let value = value(random, &field, texts, depth);
            message.set_field(&field, value);
        }
    }
    message
}

fn value(random: &mut StdRng, field: &FieldDescriptor, texts: &[&str], depth: usize) -> Value {
    let count = random.random_range(0..3);
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { unreachable!() };
        let kind = entry.map_entry_value_field().kind();
        let key = MapKey::String(texts[random.random_range(0..texts.len())].to_owned());
        let is_text = matches!(entry.map_entry_key_field().kind(), Kind::String);
        let entries = is_text.then(|| (key, element(random, &kind, texts, depth)));
        return Value::Map(entries.into_iter().collect());
    }
    if field.is_list() {
        return Value::List((0..count).map(|_| element(random, &field.kind(), texts, depth)).collect());
    }
    element(random, &field.kind(), texts, depth)
}

fn element(random: &mut StdRng, kind: &Kind, texts: &[&str], depth: usize) -> Value {
    match kind {
        Kind::Message(nested) => Value::Message(fill(random, nested, texts, depth + 1)),
        Kind::String => Value::String(texts[random.random_range(0..texts.len())].to_owned()),
        Kind::Bytes => Value::Bytes((0..random.random_range(0..40)).map(|_| random.random()).collect()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32([0, 1, 250, 251, u32::MAX][random.random_range(0..5)]),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Value::I64([0, 1, -1, i64::MAX, i64::MIN][random.random_range(0..5)])
        }
        Kind::Enum(_) => Value::EnumNumber(random.random_range(-1..6)),
        Kind::Bool => Value::Bool(random.random()),
        other => Value::default_value(other),
    }
}
