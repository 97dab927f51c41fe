//! Diagnosis of a database that does not work, or not well. Collects facts; `doctor` sorts and words them.
//! Every change that is tried is rolled back.

mod changes;
mod drift;
mod facts;
mod schema;
mod statements;

pub(crate) use changes::try_change;
pub(crate) use drift::drift;
pub(crate) use facts::{Access, Change, Facts, OptionalColumn, Server, Standing, facts};
pub(crate) use schema::{SchemaRisks, crossing_memberships, schema_risks};
pub(crate) use statements::{Listing, Measured, folders_inside_others, last_event, measure, migrations};
