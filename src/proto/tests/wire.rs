//! Compares the descriptor set with the wire table, in both directions.

use std::collections::BTreeSet;

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    ReflectMessage, Syntax, Value,
};

use crate::proto::descriptor_pool;

/// A row of the table: the kind, the columns that name the item, then its properties.
type Row = Vec<String>;

/// The whole table.
pub(crate) fn table() -> impl Iterator<Item = Row> {
    include_str!("../../../tests/data/wire.tsv")
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
}

#[test]
fn the_descriptor_set_matches_the_wire_table() {
    let pool = descriptor_pool();
    let files: Vec<_> = pool.files().filter(|file| file.package_name().starts_with("c1.")).collect();
    let packages: BTreeSet<_> = files.iter().map(|file| file.package_name().to_owned()).collect();
    assert!(packages.contains("c1.connector.v2") && packages.contains("c1.ratelimit.v1"));
    assert!(files.iter().all(|file| file.syntax() == Syntax::Proto3));

    let is_defined = |name: &str| packages.iter().any(|package| name.starts_with(&format!("{package}.")));
    let wanted: BTreeSet<_> = table().filter(|row| is_defined(&row[1]) && is_of_use(&row[1])).collect();
    let found: BTreeSet<_> = rows_of(pool).into_iter().filter(|row| is_defined(&row[1])).collect();
    assert!(wanted.len() > 1000);
    let missing: Vec<_> = wanted.difference(&found).collect();
    let surplus: Vec<_> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}, surplus {surplus:#?}");
}

/// Of ConductorOne's API, only the services for tasks and for the configuration of hosted connectors are
/// defined. The third service is for sessions, and this program stores nothing in sessions.
fn is_of_use(name: &str) -> bool {
    const USED: [&str; 9] = [
        "BatonService",
        "Task",
        "StartDebugging",
        "ConnectorConfigService",
        "GetConnector",
        "ServedPolicyEnvelope",
        "Egress",
        "Sigv4SignedRequest",
        "SignedHeader",
    ];
    let rest = name.strip_prefix("c1.connectorapi.baton.v1.");
    rest.is_none_or(|rest| USED.iter().any(|prefix| rest.starts_with(prefix)))
}

#[test]
fn removed_numbers_of_event_types_stay_reserved() {
    let types = descriptor_pool().get_enum_by_name("c1.connector.v2.EventType").unwrap();
    let reserved: BTreeSet<_> = types.reserved_ranges().flatten().collect();
    assert_eq!(reserved, BTreeSet::from([2, 3]));
}

fn rows_of(pool: &DescriptorPool) -> Vec<Row> {
    let mut rows = Vec::new();
    for service in pool.services() {
        for rpc in service.methods() {
            rows.push(row([
                "rpc",
                service.full_name(),
                rpc.name(),
                rpc.input().full_name(),
                rpc.output().full_name(),
                flag(rpc.is_client_streaming()),
                flag(rpc.is_server_streaming()),
            ]));
        }
    }
    for values in pool.all_enums() {
        rows.extend(enum_rows(&values));
    }
    for message in pool.all_messages().filter(|message| !message.is_map_entry()) {
        let options = message.descriptor_proto().options.clone().unwrap_or_default();
        rows.push(row(["message", message.full_name(), flag(options.deprecated())]));
        rows.extend(message.fields().map(|field| field_row(&message, &field)));
    }
    rows
}

fn enum_rows(values: &EnumDescriptor) -> Vec<Row> {
    values
        .values()
        .map(|value| row(["enum", values.full_name(), value.name(), &value.number().to_string()]))
        .collect()
}

fn field_row(message: &MessageDescriptor, field: &FieldDescriptor) -> Row {
    let (label, kind) = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            ("map", format!("map<{},{}>", kind_name(&key.kind()), kind_name(&value.kind())))
        }
        kind if field.cardinality() == Cardinality::Repeated => ("repeated", kind_name(&kind)),
        kind => ("optional", kind_name(&kind)),
    };
    let oneof = field.containing_oneof();
    let options = field.field_descriptor_proto().options.clone().unwrap_or_default();
    row([
        "field",
        message.full_name(),
        field.name(),
        &field.number().to_string(),
        label,
        &kind,
        oneof.as_ref().map_or("", |oneof| oneof.name()),
        flag(options.deprecated()),
        &validation(field),
    ])
}

/// The rules of a field in the notation of the table.
fn validation(field: &FieldDescriptor) -> String {
    let mut parts = Vec::new();
    if let Some(oneof) = field.containing_oneof() {
        let required = extension(&oneof.options(), "validate.required");
        if required.and_then(|value| value.as_bool()) == Some(true) {
            parts.push("oneof_required".to_owned());
        }
    }
    if let Some(Value::Message(rules)) = extension(&field.options(), "validate.rules") {
        parts.push(field_rules(&rules));
    }
    parts.join(" ")
}

fn extension(options: &DynamicMessage, name: &str) -> Option<Value> {
    let extension = descriptor_pool().get_extension_by_name(name).unwrap();
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

fn field_rules(rules: &DynamicMessage) -> String {
    let parts = by_number(rules).into_iter().map(|(_, value)| rule_set(value.as_message().unwrap()));
    parts.collect::<Vec<_>>().join(" ")
}

fn rule_set(rules: &DynamicMessage) -> String {
    let parts = by_number(rules).into_iter().map(|(name, value)| match value {
        Value::Bool(true) => name,
        Value::U32(number) => format!("{name}={number}"),
        Value::U64(number) => format!("{name}={number}"),
        Value::I64(number) => format!("{name}={number}"),
        Value::String(text) => format!("{name}={}", serde_json::to_string(&text).unwrap()),
        Value::List(values) => {
            let texts: Vec<_> = values.iter().map(|value| value.as_str().unwrap()).collect();
            format!("{name}={}", serde_json::to_string(&texts).unwrap())
        }
        Value::Message(rules) if rules.descriptor().name() == "FieldRules" => {
            format!("{name}({})", field_rules(&rules))
        }
        Value::Message(duration) => {
            assert!(!duration.has_field_by_name("nanos"));
            let seconds = duration.get_field_by_name("seconds").unwrap().as_i64().unwrap();
            format!("{name}={seconds}s")
        }
        other => panic!("{name}: {other:?}"),
    });
    parts.collect::<Vec<_>>().join(" ")
}

fn by_number(message: &DynamicMessage) -> Vec<(String, Value)> {
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(|(field, _)| field.number());
    fields.into_iter().map(|(field, value)| (field.name().to_owned(), value.clone())).collect()
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(values) => values.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn flag(is: bool) -> &'static str {
    if is { "1" } else { "0" }
}

fn row<'a>(columns: impl IntoIterator<Item = &'a str>) -> Row {
    columns.into_iter().map(str::to_owned).collect()
}
