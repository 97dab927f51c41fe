//! Retool itself: what its database and its REST API say, in Retool's own words. Nothing here knows of baton.

pub mod access;
pub mod api;
pub mod change;
pub mod database;
pub mod diagnosis;
pub mod error;
pub mod id;
mod optional_columns;
pub mod privileges;
pub mod setup;
pub mod tables;
pub mod transaction;
