//! Support code of the tests: clients, doubles of other services, and models of the expected behavior.
//!
//! The benchmarks use only [`fixture`].

pub(crate) mod c1;
pub(crate) mod changes;
pub(crate) mod client;
pub(crate) mod closed_port;
pub(crate) mod collector;
pub(crate) mod faulty_http;
pub(crate) mod faulty_proxy;
pub(crate) mod fixture;
pub(crate) mod handshake;
pub(crate) mod http;
pub(crate) mod memory;
pub(crate) mod messages;
pub(crate) mod model;
pub(crate) mod observe;
pub(crate) mod openssl;
pub(crate) mod oracle;
pub(crate) mod organization;
pub(crate) mod parent;
pub(crate) mod pooler;
pub(crate) mod raw;
pub(crate) mod retool_api;
pub(crate) mod rows;
pub(crate) mod scripted;
pub(crate) mod skipped;
pub(crate) mod stage;
pub(crate) mod tls;
pub(crate) mod wire;

mod tests;

pub(crate) use fixture::{cluster, postgres, server};
