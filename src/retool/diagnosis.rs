//! What can be found out about a database that does not work, or not well: facts for `doctor`, which puts
//! them into words and in order. Nothing here lasts: what is tried is undone.

mod changes;
mod drift;
mod facts;
mod schema;
mod statements;

pub(crate) use changes::try_change;
pub(crate) use drift::drift;
pub(crate) use facts::{Access, Change, Facts, OptionalColumn, Standing, facts};
pub(crate) use schema::{Creators, creators, crossing_memberships};
pub(crate) use statements::{Listing, Measured, folders_inside_others, last_event, measure, migrations};
