//! Black box: the real program as a function of ConductorOne's hosted runner, between stand-ins of ConductorOne and of
//! Lambda's Runtime API, on a real Postgres.

// The lints on panics are for code that ships.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod callers;
mod doctor;
mod documentation;
mod hostile;
mod reload;
mod start;
mod sync;
mod transport;

/// What the tests of the other suites rest on, as far as these need it.
#[path = "../support"]
#[allow(dead_code)]
mod support {
    pub(crate) mod c1;
    pub(crate) mod fixture;
    pub(crate) mod hosted;

    pub(crate) use fixture::{cluster, postgres, server};
}
