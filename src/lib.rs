//! `baton-retool`: a baton connector for self-hosted Retool.
//!
//! The modules form layers. Each imports only lower layers, which `tests/architecture` checks:
//!
//! - [`cli`] is the command line; `config` fills the settings types that the modules below own.
//! - `server` answers the baton protocol; [`agent`] drives any server of this protocol.
//! - `connector` is baton's view of Retool; `retool` knows Retool but not baton; `postgres` is a client for
//!   any Postgres database.
//! - [`proto`] has the messages of the protocol and their rules; `telemetry` has logs, traces and metrics,
//!   and every module may use it.
//! - `address`, `file_watch`, `jwt_crypto`, `monitoring_http`, `nearest`, `numbers`, `operator_file`,
//!   `private_text`, `repeats` and `tls_roots` are small helpers that import none of the other modules.
//!
//! `docs/architecture.md` describes what each module owns. Only items that the program, its tests and its
//! benchmarks use are public.

pub(crate) mod address;
pub mod agent;
pub mod cli;
pub(crate) mod config;
pub(crate) mod connector;
pub(crate) mod file_watch;
pub(crate) mod jwt_crypto;
pub(crate) mod monitoring_http;
pub(crate) mod nearest;
pub(crate) mod numbers;
pub(crate) mod operator_file;
pub(crate) mod postgres;
pub(crate) mod private_text;
pub mod proto;
pub(crate) mod repeats;
pub(crate) mod retool;
pub(crate) mod server;
pub(crate) mod telemetry;
pub(crate) mod tls_roots;
