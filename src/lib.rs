//! `baton-retool`: a baton connector for self-hosted Retool.
//!
//! Four rooms, stacked: [`retool`] knows Retool and nothing of baton, `connector` is baton's view of
//! it, `server` answers the protocol, `cli` is what a person types. [`proto`] holds the wire.

pub mod config;
pub mod proto;
pub mod retool;
