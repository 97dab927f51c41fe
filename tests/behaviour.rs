//! Black-box tests: the real server on a real Postgres, called by a real client.

// The lints on panics apply only to released code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod access;
mod accounts;
mod changes;
mod cli;
mod database;
mod doctor;
mod limits;
mod releases;
mod service;
mod setup_sql;
mod snapshot;
mod support;
mod sync;
mod telemetry;
mod transport;
