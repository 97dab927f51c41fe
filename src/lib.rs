//! `baton-retool`: a baton connector for self-hosted Retool.
//!
//! The modules are layers, and each imports only from those below it: [`cli`], [`config`], [`server`] beside
//! [`agent`], [`connector`], [`retool`], [`postgres`]; [`proto`] and [`telemetry`] are at the bottom. `address`,
//! `file_watch`, `monitoring_http`, `nearest` and `tls_roots` are helpers that any of them may use.
//! `docs/architecture.md` says what each owns, and `tests/architecture` checks the imports.

pub mod address;
pub mod agent;
pub mod cli;
pub mod config;
pub mod connector;
mod file_watch;
mod monitoring_http;
mod nearest;
pub mod postgres;
pub mod proto;
pub mod retool;
pub mod server;
pub mod telemetry;
mod tls_roots;
