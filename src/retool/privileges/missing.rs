//! What a role lacks, and the GRANTs that fix it.

use std::fmt;

use crate::postgres::identifier::quoted;
use crate::retool::privileges::column::Column;

/// What a role lacks of what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lacking {
    /// Tables that the search_path has not, each once.
    pub(crate) tables: Vec<&'static str>,
    /// Columns that their tables have not.
    pub(crate) columns: Vec<Column>,
    /// What would fix the rest.
    pub(crate) grants: Vec<String>,
}

impl Lacking {
    /// Whether something is not there at all.
    pub(crate) fn is_absent(&self) -> bool {
        !self.tables.is_empty() || !self.columns.is_empty()
    }

    /// What is not there, each in a few words.
    pub(crate) fn absent(&self) -> Vec<String> {
        let tables = self.tables.iter().map(|table| format!("there is no table {table} in the search_path"));
        let columns = self
            .columns
            .iter()
            .map(|Column { table, name }| format!("table {table} has no column \"{name}\""));
        tables.chain(columns).collect()
    }
}

/// The role lacks privileges that the configuration needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct MissingPrivileges {
    pub(crate) role: String,
    pub(crate) grants: Vec<String>,
}

impl MissingPrivileges {
    /// What to run.
    pub(crate) fn grants(&self) -> &[String] {
        &self.grants
    }

    /// The role may not fill columns of a new row in `groups`.
    pub(crate) fn to_insert_groups(role: &str, columns: &[String]) -> Self {
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let grant = format!("GRANT INSERT ({}) ON groups TO {};", columns.join(", "), quoted(role));
        Self { role: role.to_owned(), grants: vec![grant] }
    }

    /// The role may not even connect to the database.
    pub(crate) fn to_connect(role: &str, database: &str) -> Self {
        let grant = format!("GRANT CONNECT ON DATABASE {} TO {};", quoted(database), quoted(role));
        Self { role: role.to_owned(), grants: vec![grant] }
    }
}

impl fmt::Display for MissingPrivileges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the database role {} lacks privileges; run as the owner of Retool's tables: {}",
            self.role,
            self.grants.join(" ")
        )
    }
}
