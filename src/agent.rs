//! A baton agent: it reads and changes any connector through the connector protocol.

pub mod c1z;
pub mod expansion;
#[cfg(feature = "lambda")]
pub(crate) mod hosted;
mod limited_body;
pub(crate) mod one_shot;
pub(crate) mod service;
pub mod sync;
