//! `baton-retool`: a baton connector for self-hosted Retool.
//!
//! Rooms, stacked, each importing downwards only: [`retool`] knows Retool and nothing of baton;
//! [`connector`] is baton's view of it; [`server`] answers the protocol, and [`agent`] drives any server
//! of it; [`cli`] is what a person types. [`proto`] holds the wire. [`telemetry`] is below all of them: any
//! room may have what it does watched. `monitoring_http` is what its port for Prometheus and the server's
//! port for probes have in common.

pub mod agent;
pub mod cli;
pub mod config;
pub mod connector;
mod file_watch;
mod monitoring_http;
pub mod postgres;
pub mod proto;
pub mod retool;
pub mod server;
pub mod telemetry;
mod tls_roots;
