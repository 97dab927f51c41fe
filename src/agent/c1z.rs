//! The `.c1z` file, format v1 (decision c1z-v1), in which an agent stores its syncs for `baton` and other
//! agents.
//!
//! A file is a magic number followed by one zstd frame, which holds a SQLite database with one or more syncs.
//! It is never changed in place. [`Store`] unpacks the existing file into a private folder and collects the
//! new sync in a separate database next to it. [`Store::close`] then writes a complete new file and replaces
//! the old file atomically. Until then, the old file is unchanged.
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
