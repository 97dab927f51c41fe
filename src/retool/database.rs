//! The Retool database.
