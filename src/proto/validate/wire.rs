//! Walks an encoded message along the table of rules, without decoding the message.
//!
//! The walk reads each byte once, keeps one slot per field of the messages that it is in, and copies nothing.
//! Repeated fields follow protobuf: the last value counts, several encodings of one message merge, the last
//! member of a oneof counts, and for each key of a map the last entry.

pub(super) mod budget;
pub(super) mod fault;
mod record;
mod slot;

use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};

use crate::proto::validate::table::{FieldPlan, Form, ListRule, MapRule, MessagePlan, Shape, Table};
use crate::proto::validate::value::ValueRule;
use crate::proto::validate::wire::budget::Budget;
use crate::proto::validate::wire::fault::{Broken, Fault};
use crate::proto::validate::wire::record::{
    MAX_DEPTH, delimited, has_duplicate, key_of, scalar, skim, skim_value,
};
use crate::proto::validate::wire::slot::Slot;

/// One walk over a message.
struct Walk<'t, 'a> {
    table: &'t Table,
    /// The fields of the messages that the walk is in, the outermost first.
    slots: Vec<Slot<'a>>,
    /// The remaining budget of the decoded message.
    budget: Budget,
}

/// The result of a walk.
pub(super) struct Walked {
    /// The first broken rule in the order of the field numbers; required oneofs come after all fields.
    pub(super) broken: Option<Broken>,
    /// The memory of the decoded message without its strings and bytes; the real memory is never more.
    pub(super) memory: usize,
}

/// Walks over a message.
///
/// # Errors
/// The bytes are not an encoding of the message, or it is over the budget. Both take precedence over a broken
/// rule.
pub(super) fn check(table: &Table, plan: &MessagePlan, encoded: &[u8]) -> Result<Walked, Fault> {
    let mut walk = Walk { table, slots: Vec::new(), budget: Budget::default() };
    let broken = if plan.ruled {
        walk.message(plan, &[encoded], 0)?
    } else {
        skim(table, plan, encoded, 0, &mut walk.budget)?;
        None
    };
    Ok(Walked { broken, memory: walk.budget.memory() })
}

/// Walks over a message without its rules.
///
/// # Errors
/// The bytes are not an encoding of the message, or it is over the budget.
pub(super) fn measure(table: &Table, plan: &MessagePlan, encoded: &[u8]) -> Result<(), Fault> {
    skim(table, plan, encoded, 0, &mut Budget::default())
}

impl<'t, 'a> Walk<'t, 'a> {
    /// Checks a message, given as the encodings that merge into it.
    fn message(
        &mut self,
        plan: &'t MessagePlan,
        parts: &[&'a [u8]],
        depth: u32,
    ) -> Result<Option<Broken>, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Malformed);
        }
        let base = self.slots.len();
        self.slots.resize_with(base + plan.fields.len(), || Slot::Absent);
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                self.record(plan, base, &mut rest, depth)?;
            }
        }
        let mut first = None;
        for (index, field) in plan.fields.iter().enumerate().filter(|(_, field)| field.checked) {
            let broken = self.field(field, base + index, parts, depth, first.is_some())?;
            first = first.or(broken.map(|broken| broken.in_field(&field.name)));
        }
        let first = first.or_else(|| {
            let is_set = |member: &usize| !self.is_absent(base + member);
            let unset =
                plan.oneofs.iter().find(|oneof| oneof.required && !oneof.members.iter().any(is_set))?;
            Some(Broken::here("must have one of its fields set".to_owned()).in_field(&unset.name))
        });
        self.slots.truncate(base);
        Ok(first)
    }

    /// Reads one record of a message into the slot of its field.
    fn record(
        &mut self,
        plan: &'t MessagePlan,
        base: usize,
        rest: &mut &'a [u8],
        depth: u32,
    ) -> Result<(), Fault> {
        let (number, wire_type) = decode_key(rest)?;
        let Some((index, field)) = plan.field(number) else {
            self.budget.spend(0)?;
            return Ok(skip_field(wire_type, number, rest, DecodeContext::default())?);
        };
        self.budget.spend(field.cost)?;
        self.displace_other_members(plan, base, index, depth)?;
        let slot = base + index;
        match (&field.shape, &field.form) {
            (Shape::One(_), Form::Message(_)) if field.checked => {
                let encoded = delimited(wire_type, rest)?;
                self.update(slot, |previous| previous.merged_with(encoded));
            }
            (Shape::One(_), form) if !matches!(form, Form::Message(_)) => {
                let value = scalar(form, wire_type, rest)?;
                self.update(slot, |_| value);
            }
            (Shape::List(list), _) if field.checked => {
                self.items(field, list, slot, wire_type, rest, depth)?;
            }
            (Shape::Map(_), _) if field.checked => {
                let mut encoded = *rest;
                skim_value(self.table, field, wire_type, rest, depth, &mut self.budget)?;
                let entry = delimited(WireType::LengthDelimited, &mut encoded)?;
                self.update(slot, |previous| previous.with_entry(entry));
            }
            _ => {
                skim_value(self.table, field, wire_type, rest, depth, &mut self.budget)?;
                self.update(slot, |_| Slot::Present);
            }
        }
        Ok(())
    }

    /// The last member of a oneof on the wire counts. The other members are ignored, but their bytes must be
    /// valid.
    fn displace_other_members(
        &mut self,
        plan: &'t MessagePlan,
        base: usize,
        index: usize,
        depth: u32,
    ) -> Result<(), Fault> {
        let oneof = plan.fields.get(index).and_then(|field| plan.oneofs.get(field.oneof?));
        for member in oneof.iter().flat_map(|oneof| &oneof.members).filter(|member| **member != index) {
            let previous = self.take(base + member);
            if let Some(FieldPlan { form: Form::Message(nested), .. }) = plan.fields.get(*member) {
                self.nested(*nested, previous.parts(), depth, true)?;
            }
            self.update(base + member, |_| Slot::Absent);
        }
        Ok(())
    }

    /// Reads an item of a list, or several items if numbers are packed.
    fn items(
        &mut self,
        field: &'t FieldPlan,
        list: &'t ListRule,
        slot: usize,
        wire_type: WireType,
        rest: &mut &'a [u8],
        depth: u32,
    ) -> Result<(), Fault> {
        if let Some(single) = field.form.unpacked(wire_type) {
            let mut packed = delimited(wire_type, rest)?;
            while !packed.is_empty() {
                self.budget.spend(field.cost)?;
                let item = scalar(&field.form, single, &mut packed)?;
                self.item(field, list, slot, &item, depth)?;
            }
            return Ok(());
        }
        let item = match &field.form {
            Form::Message(_) => Slot::Message(delimited(wire_type, rest)?),
            form => scalar(form, wire_type, rest)?,
        };
        self.item(field, list, slot, &item, depth)
    }

    /// Counts and checks an item of a list. Only the first invalid item is kept.
    fn item(
        &mut self,
        field: &'t FieldPlan,
        list: &'t ListRule,
        slot: usize,
        item: &Slot<'a>,
        depth: u32,
    ) -> Result<(), Fault> {
        let (index, first) = match self.take(slot) {
            Slot::List(count, first) => (count, first),
            _ => (0, None),
        };
        let broken = self.value(&field.form, list.items.as_ref(), item, depth, first.is_some())?;
        let first = first.or(broken.map(|broken| Box::new(broken.in_element(index))));
        self.update(slot, |_| Slot::List(index + 1, first));
        Ok(())
    }

    /// Checks the values of a field. With `quiet`, checks only that the bytes of a message are valid.
    fn field(
        &mut self,
        field: &'t FieldPlan,
        slot: usize,
        parts: &[&'a [u8]],
        depth: u32,
        quiet: bool,
    ) -> Result<Option<Broken>, Fault> {
        match (&field.shape, self.take(slot)) {
            (Shape::One(_), Slot::Absent) if field.required => {
                Ok(Some(Broken::here("must be set".to_owned())))
            }
            (Shape::One(_), Slot::Absent) if field.presence => Ok(None),
            (Shape::One(rule), read) => self.value(&field.form, rule.as_ref(), &read, depth, quiet),
            // The items and entries have been read; broken rules in them no longer matter.
            (Shape::List(_) | Shape::Map(_), _) if quiet => Ok(None),
            (Shape::List(list), read) => {
                let (count, first) = match read {
                    Slot::List(count, first) => (count, first),
                    _ => (0, None),
                };
                if let Some(reason) = list.count.broken_by(count) {
                    return Ok(Some(Broken::here(reason)));
                }
                if list.unique && has_duplicate(field, parts)? {
                    return Ok(Some(Broken::here("must not hold a value twice".to_owned())));
                }
                Ok(first.map(|broken| *broken))
            }
            (Shape::Map(map), Slot::Entries(entries)) => self.entries(map, &entries, depth),
            (Shape::Map(map), _) => Ok(map.count.broken_by(0).map(Broken::here)),
        }
    }

    /// Checks the entries of a map. They are checked in the order of their keys, because entries have no
    /// order: the same message then always breaks the same rule.
    fn entries(
        &mut self,
        map: &'t MapRule,
        entries: &[&'a [u8]],
        depth: u32,
    ) -> Result<Option<Broken>, Fault> {
        let keyed = entries.iter().rev().map(|entry| Ok((key_of(entry)?, *entry)));
        let mut keyed: Vec<_> = keyed.collect::<Result<_, Fault>>()?;
        keyed.sort_by_key(|(key, _)| *key);
        // The last entry of a key comes first here, and counts.
        keyed.dedup_by_key(|(key, _)| *key);
        if let Some(reason) = map.count.broken_by(keyed.len()) {
            return Ok(Some(Broken::here(reason)));
        }
        // The entries were counted against the budget when they were read.
        let budget = self.budget;
        for (key, entry) in keyed {
            // The key is not shown, because it is input.
            let reason = map.keys.as_ref().and_then(|rule| rule.broken_by(Slot::Text(key).value()?));
            let broken = match reason {
                Some(reason) => Some(Broken::here(format!("has a key that {reason}"))),
                None => {
                    let value = record::value_of(&map.form, entry)?;
                    self.value(&map.form, map.values.as_ref(), &value, depth + 1, false)?
                }
            };
            self.budget = budget;
            if let Some(broken) = broken {
                return Ok(Some(broken.in_element("*")));
            }
        }
        Ok(None)
    }

    /// Checks a single value and its nested values. An absent value is the default.
    fn value(
        &mut self,
        form: &Form,
        rule: Option<&ValueRule>,
        read: &Slot<'a>,
        depth: u32,
        quiet: bool,
    ) -> Result<Option<Broken>, Fault> {
        let value = if quiet { None } else { read.value().or_else(|| form.default_value()) };
        let broken = rule.zip(value).and_then(|(rule, value)| rule.broken_by(value)).map(Broken::here);
        let nested = match form {
            Form::Message(nested) => self.nested(*nested, read.parts(), depth, quiet || broken.is_some())?,
            _ => None,
        };
        Ok(broken.or(nested))
    }

    /// Checks a message in a field of a message at depth `depth`. With `quiet`, checks only that its bytes
    /// are valid.
    fn nested(
        &mut self,
        message: usize,
        parts: &[&'a [u8]],
        depth: u32,
        quiet: bool,
    ) -> Result<Option<Broken>, Fault> {
        let table = self.table;
        let budget = &mut self.budget;
        let Some(plan) = table.messages.get(message) else { return Ok(None) };
        if plan.ruled && !quiet {
            return self.message(plan, parts, depth + 1);
        }
        parts.iter().try_for_each(|part| skim(table, plan, part, depth + 1, budget)).map(|()| None)
    }

    fn is_absent(&self, slot: usize) -> bool {
        matches!(self.slots.get(slot), None | Some(Slot::Absent))
    }

    /// Takes the values of a field. The slot keeps only whether the field is present.
    fn take(&mut self, slot: usize) -> Slot<'a> {
        match self.slots.get_mut(slot) {
            None | Some(Slot::Absent) => Slot::Absent,
            Some(read) => std::mem::replace(read, Slot::Present),
        }
    }

    fn update(&mut self, slot: usize, change: impl FnOnce(Slot<'a>) -> Slot<'a>) {
        let previous = self.take(slot);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = change(previous);
        }
    }
}
