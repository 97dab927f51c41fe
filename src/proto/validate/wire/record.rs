//! Reads the records of an encoded message.

use std::collections::HashSet;
use std::str;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::proto::validate::table::{FieldPlan, Form, MessagePlan, Shape, Table};
use crate::proto::validate::wire::budget::Budget;
use crate::proto::validate::wire::fault::Fault;
use crate::proto::validate::wire::slot::Slot;

/// The deepest nesting of messages. prost has the same limit.
pub(super) const MAX_DEPTH: u32 = 100;

/// The content of a record with a length.
///
/// # Errors
/// The record has another wire type, or is longer than the rest.
pub(super) fn delimited<'a>(wire_type: WireType, rest: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    if wire_type != WireType::LengthDelimited {
        return Err(Fault::Malformed);
    }
    let length = usize::try_from(decode_varint(rest)?).map_err(|_| Fault::Malformed)?;
    take(length, rest)
}

/// A value that is not a message.
///
/// # Errors
/// The record has another wire type, is cut off, or is a string that is not UTF-8.
pub(super) fn scalar<'a>(form: &Form, wire_type: WireType, rest: &mut &'a [u8]) -> Result<Slot<'a>, Fault> {
    match (form, wire_type) {
        (Form::Varint(_), WireType::Varint) => Ok(Slot::Varint(decode_varint(rest)?)),
        (Form::Fixed32, WireType::ThirtyTwoBit) => take(4, rest).map(|_| Slot::Present),
        (Form::Fixed64, WireType::SixtyFourBit) => take(8, rest).map(|_| Slot::Present),
        (Form::Text, _) => {
            let bytes = delimited(wire_type, rest)?;
            str::from_utf8(bytes).map(Slot::Text).map_err(|_| Fault::Malformed)
        }
        (Form::Bytes, _) => delimited(wire_type, rest).map(Slot::Bytes),
        _ => Err(Fault::Malformed),
    }
}

/// Skips a message to which no rule applies.
///
/// # Errors
/// The bytes are not an encoding of the message, or the budget is spent.
pub(super) fn skim(
    table: &Table,
    plan: &MessagePlan,
    encoded: &[u8],
    depth: u32,
    budget: &mut Budget,
) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::Malformed);
    }
    let mut rest = encoded;
    while !rest.is_empty() {
        let (number, wire_type) = decode_key(&mut rest)?;
        match plan.field(number) {
            Some((_, field)) => {
                budget.spend(field.cost)?;
                skim_value(table, field, wire_type, &mut rest, depth, budget)?;
            }
            None => {
                budget.spend(0)?;
                skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
            }
        }
    }
    Ok(())
}

/// Skips a record of a field to which no rule applies.
///
/// # Errors
/// The bytes are not a value of the field, or the budget is spent.
pub(super) fn skim_value(
    table: &Table,
    field: &FieldPlan,
    wire_type: WireType,
    rest: &mut &[u8],
    depth: u32,
    budget: &mut Budget,
) -> Result<(), Fault> {
    // prost ignores the wire type of an entry of a map.
    let wire_type = match field.shape {
        Shape::Map(_) => WireType::LengthDelimited,
        _ => wire_type,
    };
    if let Form::Message(nested) = &field.form {
        let encoded = delimited(wire_type, rest)?;
        let Some(plan) = table.messages.get(*nested) else { return Ok(()) };
        return skim(table, plan, encoded, depth + 1, budget);
    }
    match field.form.unpacked(wire_type).filter(|_| matches!(field.shape, Shape::List(_))) {
        Some(single) => {
            let mut packed = delimited(wire_type, rest)?;
            while !packed.is_empty() {
                budget.spend(field.cost)?;
                scalar(&field.form, single, &mut packed)?;
            }
        }
        None => {
            scalar(&field.form, wire_type, rest)?;
        }
    }
    Ok(())
}

/// The key of a map's entry.
pub(super) fn key_of(entry: &[u8]) -> Result<&str, Fault> {
    match last_or_merged(&Form::Text, 1, entry)? {
        Slot::Text(key) => Ok(key),
        _ => Ok(""),
    }
}

/// The value of a map's entry.
pub(super) fn value_of<'a>(form: &Form, entry: &'a [u8]) -> Result<Slot<'a>, Fault> {
    last_or_merged(form, 2, entry)
}

fn last_or_merged<'a>(form: &Form, number: u32, encoded: &'a [u8]) -> Result<Slot<'a>, Fault> {
    let mut found = Slot::Absent;
    let mut rest = encoded;
    while !rest.is_empty() {
        let (other, wire_type) = decode_key(&mut rest)?;
        found = match form {
            _ if other != number => {
                skip_field(wire_type, other, &mut rest, DecodeContext::default())?;
                found
            }
            Form::Message(_) => found.merged_with(delimited(wire_type, &mut rest)?),
            form => scalar(form, wire_type, &mut rest)?,
        };
    }
    Ok(found)
}

/// Whether two items of a list are equal.
///
/// # Errors
/// Only for bytes that the walk has not read before.
pub(super) fn has_duplicate(field: &FieldPlan, parts: &[&[u8]]) -> Result<bool, Fault> {
    let (mut texts, mut numbers) = (HashSet::new(), HashSet::new());
    let mut is_new = |item: Slot<'_>, form: &Form| match (item, form) {
        (Slot::Varint(number), Form::Varint(varint)) => numbers.insert(varint.value(number)),
        _ => true,
    };
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let (number, wire_type) = decode_key(&mut rest)?;
            if number != field.number {
                skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
                continue;
            }
            let new = if let Some(single) = field.form.unpacked(wire_type) {
                let mut packed = delimited(wire_type, &mut rest)?;
                let mut new = true;
                while new && !packed.is_empty() {
                    new = is_new(scalar(&field.form, single, &mut packed)?, &field.form);
                }
                new
            } else if wire_type == WireType::LengthDelimited {
                texts.insert(delimited(wire_type, &mut rest)?)
            } else {
                is_new(scalar(&field.form, wire_type, &mut rest)?, &field.form)
            };
            if !new {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn take<'a>(length: usize, rest: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let (content, after) = rest.split_at_checked(length).ok_or(Fault::Malformed)?;
    *rest = after;
    Ok(content)
}
