//! The client of a connector that ConductorOne hosts: it gets the connector's configuration.
//!
//! `config_service` asks for it with a token of `token`. Both prove with a key of this process (`process_key`, `dpop`)
//! that they are the same program, and `attestation` proves which role of AWS it runs as. The configuration comes
//! encrypted for the key of the process. `egress` is what comes beside it: where the connector may connect to.

mod attestation;
mod config_service;
mod dpop;
mod egress;
mod error;
mod jwks;
mod process_key;
mod settings;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use config_service::{ConfigService, Served};
pub(crate) use egress::{EgressPolicy, Verdict};
pub(crate) use error::HostedError;
pub(crate) use jwks::Jwks;
pub(crate) use settings::{FromEnvironment, HostedSettings};
