//! The versions that this program reports.

use crate::proto::PROTOCOL_LEVEL;

/// The SDK version of the supported protocol.
pub(super) const SDK: &str = PROTOCOL_LEVEL;

/// The version of this program.
pub(super) const PROGRAM: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// The package name that ConductorOne knows.
pub(super) const PACKAGE: &str = "github.com/conductorone/baton-retool";

/// The language and its version.
pub(super) const LANGUAGE: &str = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
