//! Compares the walk over encoded messages with a check of decoded messages, for every request type. The
//! fields of the messages are in any order, repeated, and damaged.

#![allow(clippy::unwrap_used, clippy::panic)]

mod reference;

use proptest::prelude::*;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};

use crate::proto::descriptor_pool;
use crate::proto::validate::table::Table;
use crate::proto::validate::{RequestError, RequestRules, request_rules};

fn requests() -> Vec<MessageDescriptor> {
    let services: Vec<_> = descriptor_pool().services().collect();
    let mut requests: Vec<_> =
        services.iter().flat_map(|service| service.methods()).map(|rpc| rpc.input()).collect();
    requests.sort_by(|one, other| one.full_name().cmp(other.full_name()));
    requests.dedup();
    assert!(requests.len() > 25);
    requests
}

/// The result of the walk: whether the bytes are a message, and the field and rule that it breaks.
fn walked(rules: RequestRules, encoded: &[u8]) -> Result<Option<(String, String)>, ()> {
    match rules.check(encoded) {
        Ok(_) => Ok(None),
        Err(RequestError::TooLarge(excess)) => panic!("too large: {excess:?}"),
        Err(RequestError::Invalid(violation)) => Ok(Some((violation.field, violation.rule))),
        Err(RequestError::Malformed) => Err(()),
    }
}

/// The same result for the decoded message.
fn decoded(request: &MessageDescriptor, encoded: &[u8]) -> Result<Option<(String, String)>, ()> {
    let message = DynamicMessage::decode(request.clone(), encoded).map_err(drop)?;
    let table = Table::of_the_protocol();
    let plan = table.request(request.full_name()).unwrap();
    Ok(reference::check(table, plan, &message).err().map(|broken| (broken.path, broken.rule)))
}

/// Writes a message according to the choices: the fields, their number and their values.
fn write(
    message: &MessageDescriptor,
    choices: &mut impl Iterator<Item = u8>,
    depth: usize,
    out: &mut Vec<u8>,
) {
    let fields: Vec<_> = message.fields().collect();
    if fields.is_empty() {
        return;
    }
    let records = choices.next().unwrap_or(0) % 6;
    for _ in 0..records {
        let Some(choice) = choices.next() else { return };
        // Some fields of a type are preferred, so that they are repeated.
        let field =
            &fields[usize::from(choice / 2) % fields.len().min(if choice % 2 == 0 { 3 } else { 256 })];
        write_field(field, choices, depth, out);
    }
}

fn write_field(
    field: &FieldDescriptor,
    choices: &mut impl Iterator<Item = u8>,
    depth: usize,
    out: &mut Vec<u8>,
) {
    const NUMBERS: [u64; 10] = [0, 1, 2, 3, 250, 251, 1 << 31, (1 << 32) + 1, u64::MAX, 600];
    const TEXTS: [&str; 8] =
        ["", "a", "b", "someone@example.com", "https://example.com", "ü", "group", "not ok"];
    let choice = usize::from(choices.next().unwrap_or(0));
    let number = field.number();
    let many = choice % 7 == 0;
    let text = match choice % 11 {
        0 => "x".repeat(1025),
        _ => TEXTS[choice % TEXTS.len()].to_owned(),
    };
    let delimited = |content: &[u8], out: &mut Vec<u8>| {
        encode_key(number, WireType::LengthDelimited, out);
        encode_varint(content.len() as u64, out);
        out.extend_from_slice(content);
    };
    match field.kind() {
        Kind::Message(nested) if depth < 6 => {
            let mut content = Vec::new();
            write(&nested, choices, depth + 1, &mut content);
            delimited(&content, out);
        }
        Kind::Message(_) => delimited(&[], out),
        Kind::String => delimited(text.as_bytes(), out),
        Kind::Bytes => delimited(text.as_bytes(), out),
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
            encode_key(number, WireType::SixtyFourBit, out);
            out.extend_from_slice(&[1; 8]);
        }
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
            encode_key(number, WireType::ThirtyTwoBit, out);
            out.extend_from_slice(&[1; 4]);
        }
        _ if many && field.cardinality() == Cardinality::Repeated => {
            let mut packed = Vec::new();
            encode_varint(NUMBERS[choice % NUMBERS.len()], &mut packed);
            encode_varint(NUMBERS[(choice / 2) % NUMBERS.len()], &mut packed);
            delimited(&packed, out);
        }
        _ => {
            encode_key(number, WireType::Varint, out);
            encode_varint(NUMBERS[choice % NUMBERS.len()], out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_walk_and_a_check_of_the_decoded_message_agree(
        choices in prop::collection::vec(any::<u8>(), 0..300),
        damage in prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
    ) {
        for request in requests() {
            let mut encoded = Vec::new();
            write(&request, &mut choices.iter().copied().chain([5, 3, 8, 1, 6]), 0, &mut encoded);
            if let Some((place, byte)) = &damage && !encoded.is_empty() {
                let place = place.index(encoded.len());
                encoded[place] = *byte;
            }
            let rules = request_rules(request.full_name()).unwrap();
            prop_assert_eq!(
                walked(rules, &encoded), decoded(&request, &encoded), "{} {:?}", request.full_name(), encoded
            );
        }
    }
}

#[test]
fn reads_an_entry_of_a_map_with_any_wire_type() {
    // A schema with an entry of its map in a record of the number type.
    let encoded = [18, 9, 40, 7, 10, 5, 103, 114, 111, 117, 112];
    let name = "c1.connector.v2.TicketsServiceCreateTicketRequest";
    let request = descriptor_pool().get_message_by_name(name).unwrap();
    assert_eq!(walked(request_rules(name).unwrap(), &encoded), decoded(&request, &encoded));
    assert_eq!(decoded(&request, &encoded), Ok(None));
}

#[test]
fn both_checks_agree_on_every_empty_request() {
    for request in requests() {
        let rules = request_rules(request.full_name()).unwrap();
        assert_eq!(walked(rules, &[]), decoded(&request, &[]), "{}", request.full_name());
    }
}

#[test]
fn the_depth_limit_is_that_of_prost() {
    use prost::Message;

    /// A `google.protobuf.Value` with nested lists.
    fn nested_lists(levels: usize) -> Vec<u8> {
        let mut value = Vec::new();
        for _ in 0..levels {
            for field in [1, 6] {
                let mut outer = Vec::new();
                encode_key(field, WireType::LengthDelimited, &mut outer);
                encode_varint(value.len() as u64, &mut outer);
                outer.extend_from_slice(&value);
                value = outer;
            }
        }
        value
    }

    let request = "c1.connector.v2.InvokeActionRequest";
    let arguments =
        descriptor_pool().get_message_by_name(request).unwrap().get_field_by_name("args").unwrap();
    let rules = request_rules(request).unwrap();
    let mut refused = 0;
    for levels in 40..60 {
        // A struct with one entry, whose value has the lists.
        let mut encoded = Vec::new();
        let mut content = nested_lists(levels);
        for field in [2, 1, arguments.number()] {
            let mut outer = Vec::new();
            encode_key(field, WireType::LengthDelimited, &mut outer);
            encode_varint(content.len() as u64, &mut outer);
            outer.extend_from_slice(&content);
            content = outer;
        }
        encode_key(1, WireType::LengthDelimited, &mut encoded);
        encode_varint(1, &mut encoded);
        encoded.extend_from_slice(b"n");
        encoded.extend_from_slice(&content);
        let typed = crate::proto::connector::InvokeActionRequest::decode(encoded.as_slice());
        let is_malformed = matches!(rules.check(&encoded), Err(RequestError::Malformed));
        assert_eq!(is_malformed, typed.is_err(), "{levels}");
        refused += usize::from(is_malformed);
    }
    assert!((1..20).contains(&refused), "{refused}");
}
