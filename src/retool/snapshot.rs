//! Everything that decides who has access to what, as the database had it at one moment, in arrays of numbers.
//!
//! Listings out of a snapshot give the same holders in the same order as the statements of
//! [`tables`](crate::retool::tables), so that either can go on where the other stopped.

mod build;
mod items;
mod members;
mod present;
mod principals;
mod read;
mod whole;

pub(crate) use build::estimate;
#[cfg(test)]
pub(crate) use build::of_users;
pub(crate) use present::{Listed, Table};
pub(crate) use read::{Limits, ReadError, read};
pub(crate) use whole::Snapshot;
