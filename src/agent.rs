//! Drives a connector the way an agent does. Speaks the protocol only, to any connector.

pub mod c1z;
pub mod expansion;
pub(crate) mod one_shot;
pub(crate) mod service;
pub mod sync;
