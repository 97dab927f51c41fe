//! Drives a connector as an agent does. It uses only the protocol and works with any connector.

pub mod c1z;
pub mod expansion;
#[cfg(feature = "lambda")]
pub(crate) mod hosted;
mod limited_body;
pub(crate) mod one_shot;
pub(crate) mod service;
pub mod sync;
