//! What can be found out about a database that does not work, or not well: facts for `doctor`, which puts
//! them into words and in order. Nothing here lasts: what is tried is undone.

mod changes;
mod drift;
mod facts;
mod statements;

pub use changes::try_change;
pub use drift::{Drift, drift};
pub use facts::{Access, Change, Facts, OptionalColumn, Part, Server, Standing, facts};
pub use statements::{Listing, Measured, Timed, folders_inside_others, last_event, measure, migrations};
