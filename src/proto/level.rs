//! Which version of the protocol this is.

/// The version of baton-sdk whose protocol this is. Agents parse it, and a pre-release suffix would keep them from
/// sending the sync id.
pub const PROTOCOL_LEVEL: &str = "v0.25.0";
