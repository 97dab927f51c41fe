//! A Postgres client for any program: connection strings as libpq reads them, TLS, a pool of sessions, statements
//! that are cancelled when nobody waits for them, and transactions.
//!
//! Nothing here knows which database it talks to.

pub mod connection_string;
pub mod diagnosis;
pub mod error;
pub mod identifier;
pub mod pool;
pub(crate) mod session;
pub(crate) mod statement;
pub(crate) mod time;
pub mod tls;
pub(crate) mod transaction;
