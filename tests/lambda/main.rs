//! Black-box tests: the real program as a function of ConductorOne's hosted runner, with doubles of
//! ConductorOne and of Lambda's Runtime API, on a real Postgres.

// The lints on panics apply only to released code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod actions;
mod callers;
mod doctor;
mod documentation;
mod egress;
mod hostile;
mod logs;
mod reload;
mod start;
mod sync;
mod token;
mod transport;

/// The support code of the other test suites, as far as these tests need it.
#[path = "../support"]
#[allow(dead_code)]
mod support {
    pub(crate) mod c1;
    pub(crate) mod fixture;
    pub(crate) mod hosted;
    pub(crate) mod retool_api;

    pub(crate) use fixture::{cluster, postgres, server};
}
