//! The version of the protocol.

/// The version of baton-sdk whose protocol this program implements. Agents parse it. With a pre-release
/// suffix, they would not send the sync id (decision protocol-level).
pub const PROTOCOL_LEVEL: &str = "v0.25.0";
