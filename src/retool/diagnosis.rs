//! Diagnoses a database that fails or has problems. This module collects facts; `doctor` orders them and
//! writes the messages. It rolls back every change that it tries.

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
