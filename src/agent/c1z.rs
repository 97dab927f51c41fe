//! The `.c1z` file, format v1: what an agent leaves behind for `baton` and for other agents to read.
//!
//! A file is a magic, then one zstd frame, which holds a SQLite database with one or more syncs. It is never
//! changed in place: [`Store`] unpacks what is there into a private folder, collects the new sync in a
//! database of its own beside it, and [`Store::close`] writes a complete new file that takes the old one's
//! place in one step. Until that step the old file is as it was.
//!
//! ```no_run
//! use baton_retool::agent::c1z::{Store, StoreOptions, SyncKind};
//! # use std::ops::ControlFlow;
//! # fn connector_pages() -> Vec<Vec<baton_retool::proto::connector::ResourceType>> { Vec::new() }
//!
//! let mut store = Store::open(&StoreOptions::new("sync.c1z"))?;
//! let started = store.start(SyncKind::Full)?;
//! assert!(started.token.is_empty() || started.resumed);
//! for page in connector_pages() {
//!     store.put_resource_types(&page)?;
//! }
//! store.checkpoint("{\"version\":1}")?;
//! store.expand(&mut |_, _| ControlFlow::Continue(()))?;
//! store.finish("{\"version\":1}")?;
//! let saved = store.close()?;
//! # Ok::<(), baton_retool::agent::c1z::Error>(())
//! ```
//!
//! Everything here blocks: on a runtime, run it on a thread for blocking work.

mod blob;
mod clock;
mod container;
mod database;
mod error;
mod expand;
mod grant_ids;
mod image;
mod intern;
mod lock;
mod lookup;
mod options;
mod prune;
mod reader;
mod rows;
mod runs;
mod schema;
mod seal;
mod stats;
mod store;
mod workspace;

pub use container::DecodeLimits;
pub use error::Error;
pub use expand::Expanded;
pub use lookup::{Order, Page, RowId};
pub use options::StoreOptions;
pub use reader::{EntitlementFilter, GrantFilter, Reader, ResourceFilter, Run};
pub use runs::{Started, SyncKind};
pub use store::{Saved, Store};
pub(crate) use workspace::{Workspace, remove_abandoned};

#[cfg(test)]
mod tests;
