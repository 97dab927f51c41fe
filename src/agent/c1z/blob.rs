//! Encodes the messages that rows hold. Fields are in the order of their numbers, and map entries are in the
//! order of their keys, each with both its fields, so that equal messages have equal bytes in the files of
//! all agents.

use prost::Message as _;
use prost::encoding::{self, WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use prost_types::value::Kind;
use prost_types::{Any, ListValue, Struct, Value};

use crate::proto::connector::{Entitlement, Grant, GrantExpandable, GrantSources, Resource, ResourceType};
use crate::proto::unpack;

/// Encodes a resource type.
pub(super) fn resource_type(message: &ResourceType) -> Vec<u8> {
    message.encode_to_vec()
}

/// Encodes a resource.
pub(super) fn resource(message: &Resource) -> Vec<u8> {
    let Some(profile) = message.profile.as_ref().filter(|profile| leaves_out_structure(profile)) else {
        return message.encode_to_vec();
    };
    let head = Resource { profile: None, icon: None, status: None, created_at: None, ..message.clone() };
    let tail = Resource {
        icon: message.icon.clone(),
        status: message.status.clone(),
        created_at: message.created_at,
        ..Resource::default()
    };
    let mut out = head.encode_to_vec();
    put_record(tag::resource::PROFILE, &structure(profile), &mut out);
    out.extend(tail.encode_to_vec());
    out
}

/// Encodes an entitlement.
pub(super) fn entitlement(message: &Entitlement) -> Vec<u8> {
    let Some(owner) = message.resource.as_ref().filter(|owner| needs_care(owner)) else {
        return message.encode_to_vec();
    };
    let mut out = Vec::new();
    put_record(tag::entitlement::RESOURCE, &resource(owner), &mut out);
    out.extend(Entitlement { resource: None, ..message.clone() }.encode_to_vec());
    out
}

/// Encodes a grant.
pub(super) fn grant(message: &Grant) -> Vec<u8> {
    let owner = message.entitlement.as_ref().and_then(|one| one.resource.as_ref());
    if message.sources.is_none() && ![owner, message.principal.as_ref()].into_iter().flatten().any(needs_care)
    {
        return message.encode_to_vec();
    }
    let mut out = Vec::new();
    if let Some(one) = &message.entitlement {
        put_record(tag::grant::ENTITLEMENT, &entitlement(one), &mut out);
    }
    if let Some(one) = &message.principal {
        put_record(tag::grant::PRINCIPAL, &resource(one), &mut out);
    }
    if !message.id.is_empty() {
        encoding::string::encode(tag::grant::ID, &message.id, &mut out);
    }
    encoding::message::encode_repeated(tag::grant::ANNOTATIONS, &message.annotations, &mut out);
    if let Some(GrantSources { sources: entries }) = &message.sources {
        let mut body = Vec::new();
        for (key, source) in entries {
            put_source(key, source.is_direct, &mut body);
        }
        put_record(tag::grant::SOURCES, &body, &mut out);
    }
    out
}

/// Encodes the complete field `sources` of a grant. The entries must be in the order of their keys.
pub(super) fn sources<'a>(entries: impl Iterator<Item = (&'a str, bool)>) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, is_direct) in entries {
        put_source(key, is_direct, &mut body);
    }
    let mut out = Vec::with_capacity(body.len() + 6);
    put_record(tag::grant::SOURCES, &body, &mut out);
    out
}

/// The size of the result of [`sources`] for entries with ids of these lengths.
pub(super) fn sources_len(entries: impl Iterator<Item = (usize, bool)>) -> usize {
    let record = |content: usize| key_len(1) + encoded_len_varint(content as u64) + content;
    let body: usize =
        entries.map(|(key, is_direct)| record(record(key) + record(if is_direct { 2 } else { 0 }))).sum();
    record(body)
}

/// Removes the sources of an encoded grant. Sources are the last field, so the result of [`sources`] can be
/// appended.
pub(super) fn without_sources(grant: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(grant.len());
    for field in fields(grant) {
        let field = field?;
        if field.number != tag::grant::SOURCES {
            out.extend_from_slice(field.whole);
        }
    }
    Some(out)
}

/// The content of a field of an encoded message that is itself a message or text. If the field repeats, the
/// last one counts, as in decoders. `None` if the field is missing or the bytes are not a message.
pub(super) fn field(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut found = None;
    for field in fields(message) {
        let field = field?;
        if field.number == number {
            found = field.content;
        }
    }
    found
}

/// Removes GrantExpandable from a grant's annotations and encodes it for its own column. A grant whose
/// entitlement ids are all blank is not expandable, but the annotation is removed as well.
pub(super) fn take_expansion(annotations: &mut Vec<Any>) -> Option<Vec<u8>> {
    let mut taken = None;
    annotations.retain(|annotation| match unpack::<GrantExpandable>(annotation) {
        None => true,
        Some(Ok(expandable)) => {
            let named = expandable.entitlement_ids.iter().any(|id| !id.trim().is_empty());
            if taken.is_none() && named {
                taken = Some(expandable.encode_to_vec());
            }
            false
        }
        // An invalid annotation stays, so that readers see it where the connector put it.
        Some(Err(_)) => true,
    });
    taken
}

/// The annotations of a derived grant: an empty GrantImmutable.
pub(super) fn immutable_annotation() -> Vec<u8> {
    let marker = crate::proto::any(&crate::proto::connector::GrantImmutable::default());
    let mut out = Vec::new();
    encoding::message::encode_repeated(tag::grant::ANNOTATIONS, &[marker], &mut out);
    out
}

/// Writes a length-delimited field.
pub(super) fn put_record(number: u32, content: &[u8], out: &mut Vec<u8>) {
    put_head(number, content.len(), out);
    out.extend_from_slice(content);
}

/// Writes the key and the length of a length-delimited field.
pub(super) fn put_head(number: u32, content: usize, out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content as u64, out);
}

/// The size of the output of [`put_head`].
pub(super) fn head_len(number: u32, content: usize) -> usize {
    key_len(number) + encoded_len_varint(content as u64)
}

fn put_source(key: &str, is_direct: bool, out: &mut Vec<u8>) {
    // The inner message holds one flag, or is empty.
    let flag: &[u8] = if is_direct { &[0x08, 0x01] } else { &[] };
    put_entry(key, flag, out);
}

fn put_entry(key: &str, value: &[u8], out: &mut Vec<u8>) {
    let length = |content: usize| key_len(1) + encoded_len_varint(content as u64) + content;
    encode_key(1, WireType::LengthDelimited, out);
    encode_varint((length(key.len()) + length(value.len())) as u64, out);
    put_record(1, key.as_bytes(), out);
    put_record(2, value, out);
}

fn needs_care(resource: &Resource) -> bool {
    resource.profile.as_ref().is_some_and(leaves_out_structure)
}

/// Whether the default encoder omits half of a map entry: an empty key, or a value without a kind.
fn leaves_out_structure(map: &Struct) -> bool {
    map.fields.iter().any(|(key, value)| key.is_empty() || leaves_out(value))
}

fn leaves_out(value: &Value) -> bool {
    match &value.kind {
        None => true,
        Some(Kind::StructValue(inner)) => leaves_out_structure(inner),
        Some(Kind::ListValue(inner)) => inner.values.iter().any(leaves_out_in_list),
        Some(_) => false,
    }
}

/// In a list, a value without a kind is encoded; only maps inside it matter.
fn leaves_out_in_list(value: &Value) -> bool {
    value.kind.is_some() && leaves_out(value)
}

fn structure(map: &Struct) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, inner) in &map.fields {
        put_entry(key, &value(inner), &mut out);
    }
    out
}

fn value(message: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match &message.kind {
        Some(Kind::StructValue(inner)) => put_record(tag::value::STRUCT, &structure(inner), &mut out),
        Some(Kind::ListValue(ListValue { values })) => {
            let mut list = Vec::new();
            for inner in values {
                put_record(1, &value(inner), &mut list);
            }
            put_record(tag::value::LIST, &list, &mut out);
        }
        _ => out = message.encode_to_vec(),
    }
    out
}

struct Field<'a> {
    number: u32,
    /// The field with its key.
    whole: &'a [u8],
    /// The content, if the field is length-delimited.
    content: Option<&'a [u8]>,
}

/// The fields of an encoded message in order. A final `None` means that the rest is not a message.
fn fields(message: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field)
    })
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let whole = *rest;
    let (number, wire) = encoding::decode_key(rest).ok()?;
    let mut content = None;
    match wire {
        WireType::LengthDelimited => {
            let length = usize::try_from(encoding::decode_varint(rest).ok()?).ok()?;
            let (inside, after) = rest.split_at_checked(length)?;
            content = Some(inside);
            *rest = after;
        }
        wire => encoding::skip_field(wire, number, rest, encoding::DecodeContext::default()).ok()?,
    }
    let whole = whole.get(..whole.len() - rest.len())?;
    Some(Field { number, whole, content })
}

/// Field numbers.
pub(super) mod tag {
    pub(crate) mod grant {
        pub(crate) const ENTITLEMENT: u32 = 1;
        pub(crate) const PRINCIPAL: u32 = 2;
        pub(crate) const ID: u32 = 3;
        pub(crate) const ANNOTATIONS: u32 = 4;
        pub(crate) const SOURCES: u32 = 5;
    }
    pub(crate) mod entitlement {
        pub(crate) const RESOURCE: u32 = 1;
    }
    pub(crate) mod resource {
        pub(crate) const PROFILE: u32 = 9;
    }
    pub(crate) mod value {
        pub(crate) const STRUCT: u32 = 5;
        pub(crate) const LIST: u32 = 6;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::proto::connector::grant_sources::GrantSource;
    use crate::proto::connector::{GrantImmutable, ResourceId};

    fn sample() -> Grant {
        let profile = Struct {
            fields: BTreeMap::from([
                (String::new(), Value { kind: Some(Kind::BoolValue(true)) }),
                ("none".to_owned(), Value { kind: None }),
            ]),
        };
        let id = ResourceId { resource_type: "user".into(), resource: "u1".into(), ..Default::default() };
        let resource = Resource {
            id: Some(id),
            profile: Some(profile),
            created_at: Some(prost_types::Timestamp { seconds: 7, nanos: 0 }),
            ..Default::default()
        };
        Grant {
            entitlement: Some(Entitlement {
                resource: Some(resource.clone()),
                id: "e".into(),
                ..Default::default()
            }),
            principal: Some(resource),
            id: "e:user:u1".into(),
            annotations: vec![crate::proto::any(&GrantImmutable::default())],
            sources: Some(GrantSources {
                sources: BTreeMap::from([
                    ("a".into(), GrantSource { is_direct: false }),
                    ("b".into(), GrantSource { is_direct: true }),
                ]),
            }),
        }
    }

    #[test]
    fn writes_default_map_values() {
        let bytes = grant(&sample());
        assert!(
            bytes.ends_with(&[
                0x2a, 16, 0x0a, 5, 0x0a, 1, b'a', 0x12, 0, 0x0a, 7, 0x0a, 1, b'b', 0x12, 2, 8, 1
            ])
        );
        let empty_key = [0x0a, 0x06, 0x0a, 0x00, 0x12, 0x02, 0x20, 0x01];
        assert!(bytes.windows(empty_key.len()).any(|window| window == empty_key));
        let no_kind = [0x0a, 0x04, b'n', b'o', b'n', b'e', 0x12, 0x00];
        assert!(bytes.windows(no_kind.len()).any(|window| window == no_kind));
        assert_eq!(Grant::decode(bytes.as_slice()).ok(), Some(sample()));
    }

    #[test]
    fn sources_can_be_replaced() {
        let bytes = grant(&sample());
        let mut other = without_sources(&bytes).unwrap_or_default();
        other.extend(sources([("a", false), ("b", true)].into_iter()));
        assert_eq!(other, bytes);
        assert_eq!(field(&bytes, tag::grant::ID), Some("e:user:u1".as_bytes()));
        assert_eq!(without_sources(&bytes[..bytes.len() - 1]), None);
        let long = "e".repeat(200);
        for entries in [&[][..], &[("a", false), ("b", true)], &[(long.as_str(), true), ("b", false)]] {
            let lengths = entries.iter().map(|(key, direct)| (key.len(), *direct));
            assert_eq!(sources_len(lengths), sources(entries.iter().copied()).len());
        }
        let mut head = Vec::new();
        put_head(tag::grant::ID, long.len(), &mut head);
        assert_eq!(head.len(), head_len(tag::grant::ID, long.len()));
    }

    #[test]
    fn a_grant_with_only_blank_ids_is_not_expandable() {
        let expandable = |ids: &[&str]| {
            crate::proto::any(&GrantExpandable {
                entitlement_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
                ..Default::default()
            })
        };
        let mut annotations = vec![expandable(&["", " "])];
        assert_eq!(take_expansion(&mut annotations), None);
        assert!(annotations.is_empty());
        let mut annotations = vec![expandable(&["e"])];
        assert_eq!(take_expansion(&mut annotations), Some(vec![0x0a, 1, b'e']));
    }
}
