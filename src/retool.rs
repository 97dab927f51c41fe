//! Retool: its database and its REST API, in Retool's terms. This module does not depend on the baton
//! protocol.

pub(crate) mod access;
pub(crate) mod api;
pub(crate) mod change;
pub(crate) mod database;
pub(crate) mod diagnosis;
pub(crate) mod error;
mod fragment;
pub(crate) mod id;
pub(crate) mod privileges;
pub(crate) mod setup;
pub(crate) mod shadowing_object;
pub(crate) mod snapshot;
pub(crate) mod tables;
mod template;
pub(crate) mod transaction;
pub(crate) mod trigger_path;
