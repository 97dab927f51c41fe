//! Syncs: read everything that a connector has into a storage, as an agent of the baton protocol does.
//!
//! A sync is a stack of actions (`state`). The main loop (`main_loop`) takes the topmost actions, lets
//! workers make their calls, and checkpoints the stack so that a later run can resume the sync. Each phase
//! has its own file, which defines the result of a response: rows for the storage, more actions, or the end
//! of an action.
//!
//! The agent can read any connector, not only this program's own: it uses the protocol over a `Channel` and
//! checks every response.

mod annotation;
mod connector;
mod count;
mod entitlements;
mod error;
mod exclusion;
mod external;
mod file;
mod grants;
mod main_loop;
mod meter;
mod options;
mod outcome;
mod phases;
mod resources;
mod retry;
mod run;
mod scope;
mod settings;
mod source;
mod spawn;
mod state;
mod storage;
mod subject;
mod syncer;
mod targeted;
mod thread;
mod tokens;
mod types;
mod usage;
mod version;

pub use count::{CountOnly, Visitor, Walk, walk};
pub use error::Error;
pub use meter::{Meter, Phase, Reading};
pub use options::{External, Options, Target, TargetError, Workers};
pub use outcome::{Counts, Outcome};
pub(crate) use settings::{MissingPath, SyncSettings};
pub use source::Source;
pub use state::Operation;
pub use storage::{Kind, Page, Started, Storage, StorageError};
pub use subject::Subject;
pub use syncer::Syncer;
pub use usage::Usage;
