//! Breaks every rule that the protocol declares on a message in a request, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use baton_retool::proto::descriptor_pool;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::postgres::Database;
use crate::support::server::Server;
use crate::support::wire::Wire;

/// The deepest nesting in these tests. Deeper levels have only recursive messages, and rules that were
/// already broken on a shorter path.
const DEPTH: usize = 6;

#[tokio::test]
async fn every_rule_of_the_wire_table_is_enforced_on_every_request() {
    let table = Table::read();
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let mut tried = BTreeSet::new();
    let mut due = BTreeSet::new();
    for (path, request) in served(&table) {
        let request = descriptor_pool().get_message_by_name(&request).unwrap();
        table.breakable(&request, &mut BTreeSet::new(), &mut due);
        let good = table.valid(&request, 0);
        if let Err(status) = wire.raw(&path, good.encode_to_vec()).await {
            let broken_rule = status.code() == Code::InvalidArgument && status.message().contains("invalid ");
            assert!(!broken_rule, "{path} refuses a request that breaks no rule: {status:?}");
        }
        for breach in table.breaches(&request) {
            let sent = breach.message.encode_to_vec();
            let context = format!("{path}: {} {}", breach.field, breach.what);
            let Err(status) = wire.raw(&path, sent).await else { panic!("{context}: accepted") };
            assert_eq!(status.code(), Code::InvalidArgument, "{context}: {status:?}");
            let details = status.get_details_bad_request().expect(&context);
            assert_eq!(details.field_violations[0].field, breach.field, "{context}: {}", status.message());
            assert!(status.message().contains(&breach.field), "{context}: {}", status.message());
            tried.insert(breach.rule);
        }
    }
    assert_eq!(tried, due, "not every rule was tested");
    assert!(due.len() >= 75, "only {} rules", due.len());
}

/// The smallest valid message.
pub(crate) fn valid_request(message: &MessageDescriptor) -> DynamicMessage {
    static TABLE: LazyLock<Table> = LazyLock::new(Table::read);
    TABLE.valid(message, 0)
}

/// Path and request message of every method that this connector serves.
fn served(table: &Table) -> Vec<(String, String)> {
    let elsewhere = ["c1.connector.v2.SchemaService"];
    let methods: Vec<_> = table
        .methods
        .iter()
        .filter(|(service, ..)| {
            !elsewhere.contains(&service.as_str())
                && (service.starts_with("c1.connector.v2.") || service.starts_with("c1.ratelimit.v1."))
        })
        .map(|(service, method, request)| (format!("{service}/{method}"), request.clone()))
        .collect();
    assert_eq!(methods.len(), 32);
    methods
}

/// The relevant parts of the wire table.
struct Table {
    methods: Vec<(String, String, String)>,
    /// The rules by message and field.
    rules: BTreeMap<(String, String), Rules>,
}

/// The rules of one field, each with its name and value in the table's notation.
#[derive(Clone, Default)]
struct Rules(Vec<(String, String)>);

/// A request that breaks one rule.
struct Breach {
    /// The message and field that declare the rule, and the rule.
    rule: String,
    field: String,
    what: String,
    message: DynamicMessage,
}

/// The way in which a field is made invalid.
#[derive(Clone)]
enum Fault {
    Unset,
    Value(Value),
}

impl Table {
    fn read() -> Self {
        let mut table = Self { methods: Vec::new(), rules: BTreeMap::new() };
        for line in include_str!("../data/wire.tsv").lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["rpc", service, method, request, ..] => {
                    table.methods.push((service.to_owned(), method.to_owned(), request.to_owned()));
                }
                ["field", message, field, _, _, _, _, _, rules] => {
                    table.rules.insert((message.to_owned(), field.to_owned()), Rules::read(rules));
                }
                _ => {}
            }
        }
        table
    }

    fn rules(&self, field: &FieldDescriptor) -> &Rules {
        static NONE: Rules = Rules(Vec::new());
        let key = (field.parent_message().full_name().to_owned(), field.name().to_owned());
        self.rules.get(&key).unwrap_or(&NONE)
    }

    /// The smallest valid message.
    fn valid(&self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        let mut chosen = BTreeSet::new();
        for field in descriptor.fields() {
            let rules = self.rules(&field);
            let first_of_oneof = field
                .containing_oneof()
                .is_some_and(|oneof| rules.has("oneof_required") && chosen.insert(oneof.name().to_owned()));
            let in_oneof = field.containing_oneof().is_some();
            let needed = first_of_oneof || rules.has("required") || (!in_oneof && rules.refuse_empty());
            if needed && depth < 2 * DEPTH {
                message.set_field(&field, self.valid_value(&field, depth));
            }
        }
        message
    }

    fn valid_value(&self, field: &FieldDescriptor, depth: usize) -> Value {
        let rules = self.rules(field);
        if field.is_list() {
            return Value::List(vec![self.valid_element(&field.kind(), &rules.of_items(), depth)]);
        }
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!() };
            let value = self.valid_element(&entry.map_entry_value_field().kind(), &Rules::default(), depth);
            return Value::Map([(MapKey::String("key".to_owned()), value)].into());
        }
        self.valid_element(&field.kind(), rules, depth)
    }

    fn valid_element(&self, kind: &Kind, rules: &Rules, depth: usize) -> Value {
        match kind {
            Kind::Message(nested) => Value::Message(self.valid(nested, depth + 1)),
            Kind::String => Value::String(rules.valid_text()),
            Kind::Bytes => Value::Bytes(
                vec![1; rules.number("len").or(rules.number("min_len")).unwrap_or(1) as usize].into(),
            ),
            Kind::Uint32 => {
                Value::U32(rules.number("gte").or(rules.number("gt").map(|n| n + 1)).unwrap_or(0) as u32)
            }
            Kind::Int64 => Value::I64(rules.number("gte").or(rules.number("gt").map(|n| n + 1)).unwrap_or(0)),
            kind => Value::default_value(kind),
        }
    }

    /// The rules that a request can break, at any depth.
    fn breakable(
        &self,
        descriptor: &MessageDescriptor,
        seen: &mut BTreeSet<String>,
        found: &mut BTreeSet<String>,
    ) {
        if !descriptor.full_name().starts_with("c1.") || !seen.insert(descriptor.full_name().to_owned()) {
            return;
        }
        for field in descriptor.fields() {
            let rules = self.rules(&field);
            let faults = self.faults(&field, rules);
            found.extend(faults.into_iter().map(|(_, what, _)| format!("{} {what}", field.full_name())));
            if let Some(oneof) = field.containing_oneof()
                && rules.has("oneof_required")
            {
                found.insert(oneof.full_name().to_owned());
            }
            if let Some(nested) = nested(&field) {
                self.breakable(&nested, seen, found);
            }
        }
    }

    fn breaches(&self, request: &MessageDescriptor) -> Vec<Breach> {
        let mut found = Vec::new();
        self.breaches_below(request, request, &mut Vec::new(), &mut found);
        found
    }

    fn breaches_below(
        &self,
        request: &MessageDescriptor,
        descriptor: &MessageDescriptor,
        way: &mut Vec<FieldDescriptor>,
        found: &mut Vec<Breach>,
    ) {
        let mut oneofs = BTreeSet::new();
        for field in descriptor.fields() {
            way.push(field.clone());
            let rules = self.rules(&field);
            for (place, what, fault) in self.faults(&field, rules) {
                let message = self.faulty(request, way, &fault);
                let rule = format!("{} {what}", field.full_name());
                found.push(Breach { rule, field: format!("{}{place}", spelled(way)), what, message });
            }
            if let Some(oneof) = field.containing_oneof()
                && rules.has("oneof_required")
                && oneofs.insert(oneof.name().to_owned())
            {
                let message = self.faulty(request, way, &Fault::Unset);
                let mut names = spelled(&way[..way.len() - 1]);
                names.push_str(if names.is_empty() { "" } else { "." });
                let rule = oneof.full_name().to_owned();
                let field = format!("{names}{}", oneof.name());
                found.push(Breach { rule, field, what: "oneof_required".to_owned(), message });
            }
            let holds_itself = |nested: &MessageDescriptor| {
                *nested == *request || way.iter().any(|field| field.parent_message() == nested)
            };
            if let Some(nested) = nested(&field)
                && nested.full_name().starts_with("c1.")
                && !holds_itself(&nested)
                && way.len() < DEPTH
            {
                self.breaches_below(request, &nested, way, found);
            }
            way.pop();
        }
    }

    /// A request in which only the field at the end of the path is invalid.
    fn faulty(
        &self,
        descriptor: &MessageDescriptor,
        way: &[FieldDescriptor],
        fault: &Fault,
    ) -> DynamicMessage {
        let mut message = self.valid(descriptor, 0);
        let (field, rest) = way.split_first().unwrap();
        let value = match (rest, fault) {
            ([], Fault::Unset) => {
                message.clear_field(field);
                return message;
            }
            ([], Fault::Value(value)) => value.clone(),
            (rest, fault) => {
                let value = Value::Message(self.faulty(&nested(field).unwrap(), rest, fault));
                if field.is_list() {
                    Value::List(vec![value])
                } else if field.is_map() {
                    Value::Map([(MapKey::String("key".to_owned()), value)].into())
                } else {
                    value
                }
            }
        };
        message.set_field(field, value);
        message
    }

    /// All ways to break the rules of a field: the place below it, the rule, and the fault.
    fn faults(&self, field: &FieldDescriptor, rules: &Rules) -> Vec<(&'static str, String, Fault)> {
        let mut faults = Vec::new();
        for (name, value) in &rules.0 {
            let number = value.trim_end_matches('s').parse::<i64>().unwrap_or_default();
            let mut add = |place, fault| faults.push((place, format!("{name} {value}"), fault));
            match (name.as_str(), field.kind()) {
                ("required", _) => add("", Fault::Unset),
                ("unique" | "max_items" | "min_items", _) => {
                    let one = self.valid_element(&field.kind(), &rules.of_items(), 0);
                    let count = match name.as_str() {
                        "unique" => 2,
                        "max_items" => number + 1,
                        _ => number - 1,
                    };
                    add("", Fault::Value(Value::List(vec![one; count as usize])));
                }
                ("items", kind) => {
                    for (_, fault) in rules.of_items().faulty_elements(&kind) {
                        add("[0]", Fault::Value(Value::List(vec![fault])));
                    }
                }
                _ => {}
            }
        }
        if !field.is_list() && !field.is_map() {
            let elements = rules.faulty_elements(&field.kind());
            faults.extend(elements.into_iter().map(|(what, value)| ("", what, Fault::Value(value))));
        }
        faults
    }
}

impl Rules {
    /// Splits `min_len=1 items(defined_only)` into its parts. Quoted texts in the table contain no spaces.
    fn read(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = match (rest.find('('), rest.find([' ', '='])) {
                (Some(open), next) if next.is_none_or(|next| open < next) => {
                    rest.find(") ").map_or(rest.len(), |end| end + 1)
                }
                _ => rest.find(' ').unwrap_or(rest.len()),
            };
            let (part, after) = rest.split_at(end);
            let (name, value) = match part.split_once('(') {
                Some((name, inner)) if !part.contains("=\"") || name == "items" => {
                    (name, inner.trim_end_matches(')'))
                }
                _ => part.split_once('=').unwrap_or((part, "")),
            };
            parts.push((name.to_owned(), value.trim_matches('"').to_owned()));
            rest = after.trim_start();
        }
        Self(parts)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.value(name).and_then(|value| value.trim_end_matches('s').parse().ok())
    }

    fn of_items(&self) -> Self {
        self.value("items").map(Self::read).unwrap_or_default()
    }

    fn refuse_empty(&self) -> bool {
        let least = |name| self.number(name).is_some_and(|least| least > 0);
        let says_something = ["pattern", "email", "uri", "len"].iter().any(|name| self.has(name));
        !self.has("ignore_empty")
            && (says_something
                || least("min_bytes")
                || least("min_len")
                || least("min_items")
                || least("min_pairs")
                || least("gte")
                || self.number("gt").is_some())
    }

    fn valid_text(&self) -> String {
        let letters = match self.value("pattern") {
            Some(pattern) if pattern.contains("{27}") => 27,
            _ => self.number("min_bytes").or(self.number("min_len")).unwrap_or(1).max(1) as usize,
        };
        if self.has("email") {
            "someone@example.com".to_owned()
        } else if self.has("uri") {
            "https://example.com".to_owned()
        } else if let Some(words) = self.value("in") {
            words.trim_matches(['[', ']', '"']).split('"').next().unwrap().to_owned()
        } else {
            "a".repeat(letters)
        }
    }

    /// Values that each break one rule, with this rule.
    fn faulty_elements(&self, kind: &Kind) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        for (name, value) in &self.0 {
            let limit = value.trim_end_matches('s').parse::<i64>().unwrap_or_default();
            let over = match name.as_str() {
                "lte" => Some(limit + 1),
                "gte" => Some(limit - 1),
                "gt" => Some(limit),
                _ => None,
            };
            let skipped = self.has("ignore_empty") && over == Some(0);
            let fault = match (name.as_str(), kind, over) {
                (_, Kind::Uint32, Some(over)) if !skipped => u32::try_from(over).ok().map(Value::U32),
                (_, Kind::Int64, Some(over)) if !skipped => Some(Value::I64(over)),
                (_, Kind::Message(duration), Some(over))
                    if duration.full_name() == "google.protobuf.Duration" =>
                {
                    let mut message = DynamicMessage::new(duration.clone());
                    message.set_field_by_name("seconds", Value::I64(over));
                    Some(Value::Message(message))
                }
                ("min_bytes" | "min_len", Kind::String, _) if limit > 0 && !self.has("ignore_empty") => {
                    Some(Value::String("a".repeat(limit as usize - 1)))
                }
                // Fewer characters than the limit, but too many bytes.
                ("max_bytes", Kind::String, _) => Some(Value::String("é".repeat(limit as usize / 2 + 1))),
                ("max_len", Kind::String, _) => Some(Value::String("a".repeat(limit as usize + 1))),
                ("min_len" | "len", Kind::Bytes, _) if limit > 0 => {
                    Some(Value::Bytes(vec![1; limit as usize - 1].into()))
                }
                ("max_len", Kind::Bytes, _) => Some(Value::Bytes(vec![1; limit as usize + 1].into())),
                ("len", Kind::String, _) => Some(Value::String("a".repeat(limit as usize + 1))),
                ("pattern", Kind::String, _) if !value.ends_with("|$") => {
                    Some(Value::String("!".repeat(self.valid_text().len())))
                }
                ("email", Kind::String, _) => Some(Value::String("Someone <someone@example.com>".to_owned())),
                ("uri", Kind::String, _) => Some(Value::String("https://not a uri".to_owned())),
                ("prefix", Kind::String, _) => Some(Value::String("http://example.com".to_owned())),
                ("in", Kind::String, _) => Some(Value::String("neither".to_owned())),
                ("defined_only", Kind::Enum(_), _) => Some(Value::EnumNumber(9999)),
                _ => None,
            };
            found.extend(fault.map(|fault| (format!("{name} {value}"), fault)));
        }
        found
    }
}

/// The message type of a field, also in a list or a map.
fn nested(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            Kind::Message(value) => Some(value),
            _ => None,
        },
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

/// The path to a field, as in error messages.
fn spelled(way: &[FieldDescriptor]) -> String {
    let last = way.len().saturating_sub(1);
    let names: Vec<_> = way
        .iter()
        .enumerate()
        .map(|(index, field)| match index == last {
            false if field.is_list() => format!("{}[0]", field.name()),
            false if field.is_map() => format!("{}[*]", field.name()),
            _ => field.name().to_owned(),
        })
        .collect();
    names.join(".")
}
