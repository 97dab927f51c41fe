//! Retool itself: its database.

pub mod database;
