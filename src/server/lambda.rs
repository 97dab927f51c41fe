//! The connector protocol over AWS Lambda, as ConductorOne's hosted runner speaks it: one event is one unary call.
//!
//! `runtime` takes events from Lambda's Runtime API and gives back what `function` makes of them. It reads the call out
//! of the event (`event`, `headers`, `json`), checks who makes it (`callers`), hands it to the very services that a
//! port would have, in memory (`call`), and writes the answer in the form that the caller understands (`reply`).

mod budget;
mod call;
mod callers;
mod event;
mod function;
mod headers;
mod json;
mod reply;
mod runtime;
#[cfg(test)]
mod tests;

pub(crate) use callers::{Callers, KeySet};
pub(crate) use function::{Configurations, DebugUntil, Function, Generation};
pub(crate) use runtime::{Runtime, RuntimeError};

/// How many bytes a page of a listing may take: as JSON, which needs about three times as many, it stays below what
/// Lambda takes for an answer.
pub(crate) const PAGE_BYTES: usize = 1_000_000;
