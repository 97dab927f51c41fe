//! Connection strings: the servers to connect to, the credentials, and the security settings.
//!
//! Two forms are supported: libpq's `keyword=value` and URLs. Settings that the string leaves out come from a
//! service file, from the `PG...` environment variables, and from defaults, in this order; a missing password
//! comes from a password file. Settings that libpq and the Go driver support are supported. Any other setting
//! is an error and never silently ignored.

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
