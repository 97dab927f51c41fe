//! The port and the child process: services, request rules, TLS, tokens, health.

mod bad_input;
mod child;
mod child_calls;
mod coverage;
mod health;
mod port;
mod services;
pub(crate) mod validation;
