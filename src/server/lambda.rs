//! The connector protocol over AWS Lambda, as ConductorOne's hosted runner uses it: one event is one unary call.
//!
//! `runtime` gets events from Lambda's Runtime API and posts their results. `function` handles an event: it reads the
//! call (`event`, `headers`, `json`), checks the caller (`callers`), makes the call in memory, with the services of a
//! port (`call`), and encodes the answer in the form of the call (`reply`). `lines` limits log lines.

mod budget;
mod call;
mod callers;
mod event;
mod function;
mod headers;
mod json;
mod lines;
mod reply;
mod runtime;
#[cfg(test)]
mod tests;

pub(crate) use callers::{Callers, KeySet};
pub(crate) use function::{Configurations, DebugUntil, Function, Generation};
pub(crate) use runtime::{Runtime, RuntimeError};

/// Size of a page of a listing in bytes. A page in JSON is about three times as large, which is below
/// Lambda's limit.
pub(crate) const PAGE_BYTES: usize = 1_000_000;
