//! What the tests and the benchmark stand on: a Postgres of their own ([`postgres`]) and the real
//! program before it ([`server`]).

// Every user of this module takes a part of it; the lints on panics are for code that ships.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod changes;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod collector;
pub(crate) mod handshake;
pub(crate) mod http;
pub(crate) mod memory;
pub(crate) mod messages;
pub(crate) mod model;
pub(crate) mod observe;
pub(crate) mod oracle;
pub(crate) mod organization;
pub(crate) mod parent;
pub(crate) mod pooler;
pub(crate) mod postgres;
pub(crate) mod raw;
pub(crate) mod retool_api;
pub(crate) mod rows;
pub(crate) mod scripted;
pub(crate) mod server;
pub(crate) mod stage;
pub(crate) mod tls;
pub(crate) mod way;
pub(crate) mod wire;

// A benchmark counts as a test to the compiler, but one without test functions.
#[cfg(test)]
#[allow(unused_imports)]
mod tests;
