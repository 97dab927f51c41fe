//! Gets the configuration of a connector that ConductorOne hosts.
//!
//! `config_service` requests the configuration with a token of `token`. Both sign their requests with a key
//! of this process (`process_key`, `dpop`), for which the configuration is encrypted. `attestation` proves
//! the AWS role. `egress` is the policy that comes with the configuration, and `jwks` fetches the keys of
//! callers.

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
