//! Drives a connector the way an agent does. Speaks the protocol only, to any connector.

pub mod c1z;
pub mod expansion;
#[cfg(feature = "lambda")]
pub(crate) mod hosted;
mod limited_body;
pub(crate) mod one_shot;
pub(crate) mod service;
pub mod sync;
