//! Diagnoses why a server is unreachable, step by step: name, port, TLS, login.

pub(crate) mod login;
pub(crate) mod network;
