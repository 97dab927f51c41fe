//! Retool itself: what its database and its REST API say, in Retool's own words. Nothing here knows of baton.

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
pub(crate) mod tables;
mod template;
pub(crate) mod transaction;
