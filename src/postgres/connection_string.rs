//! Connection strings: which servers to reach, as whom, and how safely.
//!
//! Two forms are read, libpq's `keyword=value` and URLs. What the string leaves open is filled from a service
//! file, from the `PG...` environment variables, from defaults, in this order; a missing password from a
//! password file. What libpq and the Go driver honour is honoured; anything else is an error
//! rather than ignored.

mod attempts;
mod duration;
mod environment;
mod error;
mod hosts;
mod keys;
mod keyword;
mod layers;
mod password_file;
mod pool_settings;
mod service_file;
mod session_settings;
mod settings;
mod ssl;
#[cfg(test)]
mod tests;
mod url;

pub(crate) use attempts::{Attempt, Encryption};
pub(crate) use environment::Environment;
pub(crate) use hosts::{Address, Host};
pub(crate) use session_settings::TargetSessionAttrs;
pub(crate) use settings::ConnectionSettings;
