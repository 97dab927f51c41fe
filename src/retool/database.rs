//! The Retool database.

pub mod connection_string;
pub mod tls;
