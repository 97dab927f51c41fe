//! Enforces the validation rules that `proto/` declares on fields and oneofs.
//!
//! There is one mechanism for all messages: the rules are read out of the descriptor set once and compiled
//! into a table by message, and the bytes of a request are walked along the table before anything is built
//! of them. Nothing here names a message of the protocol, so a rule that is added to a `.proto` file holds
//! from the next build on.
//!
//! What the rules mean follows the Go servers of the protocol: a rule holds for the default value too
//! unless `ignore_empty` says otherwise; what is absent (a message, an unset member of a oneof, an unset
//! `optional`) is checked for `required` only; what is packed inside an `Any` is not looked at.

mod formats;
mod rules;
mod table;
mod value;
mod weight;
mod wire;

use std::sync::LazyLock;

pub use formats::is_email;
// Generated code of other packages refers to it by this path.
pub use rules::StringRules;
pub(crate) use wire::budget::{ELEMENTS, MEMORY};
pub(crate) use wire::fault::Excess;

use crate::proto;
use crate::proto::validate::table::{MessagePlan, Table};
use crate::proto::validate::wire::Walked;
use crate::proto::validate::wire::fault::Fault;

/// The first rule that a message breaks. Of what the message holds, it repeats numbers and lengths only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {message}: {field}{}{rule}", if .field.is_empty() { "" } else { " " })]
pub struct Violation {
    /// The message that was checked, without its package.
    pub message: String,
    /// The way to the field as the protocol spells it, such as `resource.id.resource_type`,
    /// `list[3].id` or `sources[*]` for an entry of a map. Empty when the message as a whole is wrong.
    pub field: String,
    /// What was expected and how it was missed, to be read after the field:
    /// `must be at most 250, is 300`.
    pub rule: String,
}

/// Why the bytes of a request are refused.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// They are not an encoding of the message.
    Malformed,
    /// The message would take too much memory or time.
    TooLarge(Excess),
    /// The message breaks a rule.
    Invalid(Violation),
}

/// The rules of a message that some rpc takes.
#[derive(Clone, Copy)]
pub(crate) struct RequestRules {
    table: &'static Table,
    plan: &'static MessagePlan,
}

/// Decodes the descriptor set and compiles the rules, which the first request would wait for otherwise.
pub fn warm_up() {
    Table::of_the_protocol();
}

/// The rules of a message that some rpc takes; nothing for any other message.
pub(crate) fn request_rules(full_name: &str) -> Option<RequestRules> {
    let table = Table::of_the_protocol();
    table.request(full_name).map(|plan| RequestRules { table, plan })
}

impl RequestRules {
    /// Checks an encoded request, nested messages included, without decoding it. Takes time in proportion
    /// to its bytes. Returns the memory in bytes that the decoded request takes, never less than it really is.
    ///
    /// # Errors
    /// The first broken rule in the order of the field numbers, a required oneof after them. Bytes that are
    /// no such message, and messages that would be too large, come before any broken rule.
    pub(crate) fn check(self, encoded: &[u8]) -> Result<usize, RequestError> {
        match wire::check(self.table, self.plan, encoded) {
            Ok(Walked { broken: None, memory }) => Ok(encoded.len() + memory),
            Ok(Walked { broken: Some(broken), .. }) => Err(RequestError::Invalid(Violation {
                message: self.plan.name.clone(),
                field: broken.path,
                rule: broken.rule,
            })),
            Err(Fault::Malformed) => Err(RequestError::Malformed),
            Err(Fault::TooLarge(excess)) => Err(RequestError::TooLarge(excess)),
        }
    }
}

impl Table {
    /// The rules of [`proto::FILE_DESCRIPTOR_SET`], compiled once.
    // A rule that cannot be compiled is one that a change to `proto/` brought in. Going on without it
    // would let through what it forbids; the tests build this very table.
    #[allow(clippy::expect_used)]
    fn of_the_protocol() -> &'static Self {
        static TABLE: LazyLock<Table> =
            LazyLock::new(|| Table::build(proto::descriptor_pool()).expect("every rule is known"));
        &TABLE
    }
}

#[cfg(test)]
mod tests;
