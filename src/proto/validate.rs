//! Enforces the validation rules that `proto/` declares on fields and oneofs.
//!
//! All messages use one mechanism. The rules are read from the descriptor set once and compiled into a table
//! by message. The bytes of a request are walked along this table before the request is decoded. No code here
//! names a message of the protocol, so a rule that is added to a `.proto` file is enforced after the next
//! build.
//!
//! The rules have the semantics of the Go servers of the protocol. A rule also applies to the default value
//! unless `ignore_empty` is set. An absent value (a message, an unset member of a oneof, an unset `optional`)
//! is only checked for `required`. Messages packed in an `Any` are not checked.

mod formats;
mod rules;
mod table;
mod value;
mod weight;
mod wire;

use std::sync::LazyLock;

pub use formats::is_email;
// Generated code of other packages uses this path.
pub use rules::StringRules;
pub(crate) use wire::budget::{ELEMENTS, MEMORY};
pub(crate) use wire::fault::Excess;

use crate::proto;
use crate::proto::validate::table::{MessagePlan, Table};
use crate::proto::validate::wire::Walked;
use crate::proto::validate::wire::fault::Fault;

/// The first rule that a message breaks. It contains only numbers and lengths of the message, no other
/// content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {message}: {field}{}{rule}", if .field.is_empty() { "" } else { " " })]
pub struct Violation {
    /// The checked message, without its package.
    pub message: String,
    /// The path of the field in the protocol's spelling, such as `resource.id.resource_type`, `list[3].id` or
    /// `sources[*]` for an entry of a map. Empty if the message as a whole is invalid.
    pub field: String,
    /// The expected and the actual value, to be read after the field: `must be at most 250, is 300`.
    pub rule: String,
}

/// The reason why the bytes of a request are refused.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The bytes are not an encoding of the message.
    Malformed,
    /// The message would take too much memory or time.
    TooLarge(Excess),
    /// The message breaks a rule.
    Invalid(Violation),
}

/// The rules of a request message.
#[derive(Clone, Copy)]
pub(crate) struct RequestRules {
    table: &'static Table,
    plan: &'static MessagePlan,
}

/// Decodes the descriptor set and compiles the rules. Otherwise the first request would wait for this.
pub fn warm_up() {
    Table::of_the_protocol();
}

/// The rules of a message that is the request of an rpc; `None` for any other message.
pub(crate) fn request_rules(full_name: &str) -> Option<RequestRules> {
    let table = Table::of_the_protocol();
    table.request(full_name).map(|plan| RequestRules { table, plan })
}

/// Checks that an encoded response of a service that only other programs serve does not take too much memory.
/// Any other message passes.
///
/// # Errors
/// The limit that it exceeds.
pub(crate) fn check_answer(full_name: &str, encoded: &[u8]) -> Result<(), Excess> {
    let table = Table::of_the_protocol();
    let Some(plan) = table.answer(full_name) else { return Ok(()) };
    match wire::measure(table, plan, encoded) {
        Err(Fault::TooLarge(excess)) => Err(excess),
        // Its decoder reports malformed bytes.
        Ok(()) | Err(Fault::Malformed) => Ok(()),
    }
}

impl RequestRules {
    /// Checks an encoded request, including nested messages, without decoding it. The time is proportional to
    /// its length. Returns the memory of the decoded request in bytes; the real memory is never more.
    ///
    /// # Errors
    /// The first broken rule in the order of the field numbers; required oneofs come after all fields.
    /// Malformed and too large messages take precedence over broken rules.
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
    // A rule that fails to compile was added by a change to `proto/`. Without it, the program would accept
    // invalid requests. The tests build this table.
    #[allow(clippy::expect_used)]
    fn of_the_protocol() -> &'static Self {
        static TABLE: LazyLock<Table> =
            LazyLock::new(|| Table::build(proto::descriptor_pool()).expect("every rule is known"));
        &TABLE
    }
}

#[cfg(test)]
mod tests;
