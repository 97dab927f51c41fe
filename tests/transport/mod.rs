//! The port and the child process: services, request rules, TLS, tokens, health.

mod bad_input;
mod child;
mod health;
mod services;
mod sidecar;
mod validation;
