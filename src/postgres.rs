//! A Postgres client for any program: libpq connection strings, TLS, a pool of sessions, transactions, and
//! statements that are cancelled when their caller stops waiting.
//!
//! This module does not depend on the contents of the database.

pub(crate) mod connection_string;
pub(crate) mod consistent;
pub(crate) mod diagnosis;
pub(crate) mod error;
pub(crate) mod identifier;
pub(crate) mod opener;
pub(crate) mod pool;
pub(crate) mod reason;
pub(crate) mod session;
pub(crate) mod statement;
pub(crate) mod time;
pub(crate) mod tls;
pub(crate) mod transaction;
