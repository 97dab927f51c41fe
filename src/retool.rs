//! Retool: its database and its REST API, in Retool's own terms. Nothing here depends on the baton protocol.

pub mod access;
pub mod api;
pub mod change;
pub mod database;
pub mod diagnosis;
pub mod error;
mod fragment;
pub mod id;
pub mod privileges;
pub mod setup;
pub mod tables;
mod template;
pub mod transaction;
