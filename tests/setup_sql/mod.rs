//! The script that `setup-sql` prints.

mod other_retools;
mod scope;
mod script;
