//! The memory of decoded messages, computed from their descriptors according to the generated types.

use std::collections::{HashMap, HashSet};

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

/// The sizes of all messages.
pub(super) struct Weights(HashMap<String, usize>);

/// A `String`, a `Vec` or a `BTreeMap`.
const CONTAINER: usize = 24;
/// The smallest memory block of allocators, including their own overhead.
const BLOCK: usize = 32;
/// A pointer, and also the tag of an `Option` or an enum.
const WORD: usize = 8;
/// Lists grow by doubling, at first to four items, and nodes of maps are at least half full.
const SLACK: usize = 2;

impl Weights {
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let mut weights = Self(HashMap::new());
        pool.all_messages().for_each(|message| {
            weights.add(&message);
        });
        weights
    }

    /// The size of a message's type; the real size is never more.
    pub(super) fn message(&self, message: &MessageDescriptor) -> usize {
        self.0.get(message.full_name()).copied().unwrap_or_default()
    }

    /// The memory that one record of the field, or one packed number, adds to a message, without the content
    /// of strings and bytes and without nested values.
    pub(super) fn record(&self, field: &FieldDescriptor) -> usize {
        let kind = field.kind();
        match &kind {
            Kind::Message(entry) if field.is_map() => {
                SLACK * (CONTAINER + self.value(&entry.map_entry_value_field().kind()))
            }
            Kind::Message(nested) if field.is_list() => SLACK * self.message(nested),
            Kind::Message(nested) if is_boxed(field, nested) => BLOCK + self.message(nested),
            // This is part of the message that contains it.
            Kind::Message(_) => 0,
            Kind::String | Kind::Bytes if field.is_list() => BLOCK + SLACK * CONTAINER,
            Kind::String | Kind::Bytes => BLOCK,
            _ if field.is_list() => SLACK * self.value(&kind),
            _ => 0,
        }
    }

    fn add(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(weight) = self.0.get(message.full_name()) {
            return *weight;
        }
        let mut weight = 0;
        let real = |field: &FieldDescriptor| field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        for field in message.fields().filter(|field| real(field).is_none()) {
            weight += self.add_field(&field);
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let largest = oneof.fields().map(|field| self.add_field(&field)).max();
            weight += WORD + largest.unwrap_or_default();
        }
        let weight = weight.next_multiple_of(WORD);
        self.0.insert(message.full_name().to_owned(), weight);
        weight
    }

    fn add_field(&mut self, field: &FieldDescriptor) -> usize {
        if field.is_list() || field.is_map() {
            return CONTAINER;
        }
        match field.kind() {
            Kind::Message(nested) if is_boxed(field, &nested) => WORD,
            Kind::Message(nested) => WORD + self.add(&nested),
            kind if field.supports_presence() => 2 * self.value(&kind),
            kind => self.value(&kind),
        }
    }

    /// A single value of the kind.
    fn value(&self, kind: &Kind) -> usize {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::String | Kind::Bytes => CONTAINER,
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 8,
            Kind::Int64 | Kind::Uint64 | Kind::Sint64 => 8,
            Kind::Bool => 1,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 4,
            Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Enum(_) => 4,
        }
    }
}

/// Whether a message is stored behind a pointer because it can contain its parent message without a list or a
/// map between them.
fn is_boxed(field: &FieldDescriptor, nested: &MessageDescriptor) -> bool {
    let mut seen = HashSet::new();
    let mut to_see = vec![nested.clone()];
    while let Some(message) = to_see.pop() {
        if message == *field.parent_message() {
            return true;
        }
        if seen.insert(message.full_name().to_owned()) {
            let single = message.fields().filter(|field| !field.is_list() && !field.is_map());
            to_see.extend(single.filter_map(|field| field.kind().as_message().cloned()));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use prost::Name;

    use super::*;
    use crate::proto::{connector, descriptor_pool};

    /// The name of a message and the size of its type.
    fn sized<M: Name>() -> (String, usize) {
        (M::full_name(), size_of::<M>())
    }

    #[test]
    fn no_message_type_is_larger_than_its_weight() {
        let weights = Weights::of(descriptor_pool());
        let google = |name: &str, size| (format!("google.protobuf.{name}"), size);
        for (name, size) in [
            google("Any", size_of::<prost_types::Any>()),
            google("Struct", size_of::<prost_types::Struct>()),
            google("Value", size_of::<prost_types::Value>()),
            google("ListValue", size_of::<prost_types::ListValue>()),
            google("Timestamp", size_of::<prost_types::Timestamp>()),
            google("Duration", size_of::<prost_types::Duration>()),
            sized::<connector::CreateAccountRequest>(),
            sized::<connector::CredentialOptions>(),
            sized::<connector::EncryptionConfig>(),
            sized::<connector::Entitlement>(),
            sized::<connector::Grant>(),
            sized::<connector::GrantManagerServiceGrantRequest>(),
            sized::<connector::GrantManagerServiceRevokeRequest>(),
            sized::<connector::GrantSources>(),
            sized::<connector::GrantsServiceListGrantsRequest>(),
            sized::<connector::InvokeActionRequest>(),
            sized::<connector::Resource>(),
            sized::<connector::ResourceId>(),
            sized::<connector::ResourceType>(),
            sized::<connector::TicketRequest>(),
            sized::<connector::TicketSchema>(),
            sized::<connector::TicketCustomField>(),
            sized::<connector::TicketsServiceCreateTicketRequest>(),
            sized::<connector::TicketsServiceBulkCreateTicketsRequest>(),
        ] {
            let message = descriptor_pool().get_message_by_name(&name);
            let weight = message.map(|message| weights.message(&message)).unwrap_or_default();
            assert!(weight >= size, "{name}: weighs {weight}, takes {size}");
            assert!(weight <= 2 * size.max(WORD), "{name}: weighs {weight}, takes {size}");
        }
    }
}
