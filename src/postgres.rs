//! A Postgres client for any program: connection strings as libpq reads them, TLS, a pool of sessions, statements
//! that are cancelled when their caller stops waiting, and transactions.
//!
//! It does not depend on the schema of a database.

pub(crate) mod connection_string;
pub(crate) mod consistent;
pub(crate) mod diagnosis;
pub(crate) mod error;
pub(crate) mod identifier;
mod offer;
pub(crate) mod opener;
pub(crate) mod pool;
pub(crate) mod reason;
pub(crate) mod session;
pub(crate) mod statement;
pub(crate) mod time;
pub(crate) mod tls;
pub(crate) mod transaction;
