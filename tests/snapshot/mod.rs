//! Syncs that are answered from a snapshot of access.

mod bounds;
mod changes;
mod faults;
mod same;
