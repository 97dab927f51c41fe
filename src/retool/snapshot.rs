//! A snapshot of all access data at one moment, in arrays of numbers.
//!
//! Listings from a snapshot return the same holders in the same order as the statements of
//! [`tables`](crate::retool::tables), so that each can continue where the other stopped.

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
