//! Retool itself: what its database says, in Retool's own words. Nothing here knows of baton.

pub mod access;
pub mod api;
pub mod change;
pub mod database;
pub mod id;
