//! What the tests and the benchmark stand on: a Postgres of their own ([`postgres`]) and the real
//! program before it ([`server`]).

// Every user of this module takes a part of it; the lints on panics are for code that ships.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(test)]
pub(crate) mod changes;
#[cfg(test)]
pub(crate) mod client;
pub(crate) mod cluster;
#[cfg(test)]
pub(crate) mod collector;
#[cfg(test)]
pub(crate) mod handshake;
#[cfg(test)]
pub(crate) mod http;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
pub(crate) mod messages;
#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
pub(crate) mod observe;
#[cfg(test)]
pub(crate) mod oracle;
#[cfg(test)]
pub(crate) mod organization;
#[cfg(test)]
pub(crate) mod parent;
#[cfg(test)]
pub(crate) mod pooler;
pub(crate) mod postgres;
#[cfg(test)]
pub(crate) mod raw;
#[cfg(test)]
pub(crate) mod retool_api;
pub(crate) mod server;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
pub(crate) mod stage;
#[cfg(test)]
pub(crate) mod tls;
#[cfg(test)]
pub(crate) mod way;
#[cfg(test)]
pub(crate) mod wire;

// A benchmark counts as a test to the compiler, but one without test functions.
#[cfg(test)]
#[allow(unused_imports)]
mod tests;
