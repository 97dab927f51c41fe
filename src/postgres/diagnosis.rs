//! What keeps a server from being reached, found out step by step: name, port, TLS, login.

pub(crate) mod login;
pub(crate) mod network;
