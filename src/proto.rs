//! The wire format: generated messages, clients and servers of the baton connector protocol, and a few
//! helpers that all higher layers share.
//!
//! The packages are [`connector`], [`config`], [`ratelimit`], [`transport`], [`utls`], [`connector_wrapper`]
//! and [`connectorapi`].

pub mod c1;
pub mod codec;
pub mod connector;
mod descriptors;
pub mod grants;
mod json;
mod level;
pub mod log_text;
pub(crate) mod request_memory;
mod secret;
#[cfg(test)]
mod tests;
pub mod validate;
mod values;

pub use c1::config::v1 as config;
pub use c1::connector_wrapper::v1 as connector_wrapper;
pub use c1::connectorapi::baton::v1 as connectorapi;
pub use c1::ratelimit::v1 as ratelimit;
pub use c1::transport::v1 as transport;
pub use c1::utls::v1 as utls;
pub use descriptors::{FILE_DESCRIPTOR_SET, descriptor_pool};
pub use json::{JsonError, from_json, json, json_of_any, json_of_structure, structure_of_json};
pub use level::PROTOCOL_LEVEL;
pub use validate::warm_up;
pub use values::{any, boolean, find_annotation, number, packed, string, structure, timestamp, unpack};
