//! Which versions this program says that it has.

use crate::proto::PROTOCOL_LEVEL;

/// The version of the SDK whose protocol is spoken.
pub(super) const SDK: &str = PROTOCOL_LEVEL;

/// The version of this program.
pub(super) const PROGRAM: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// What is built, by the name that ConductorOne knows.
pub(super) const PACKAGE: &str = "github.com/conductorone/baton-retool";

/// The language and its version.
pub(super) const LANGUAGE: &str = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
