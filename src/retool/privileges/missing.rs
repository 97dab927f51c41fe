//! Missing tables, columns and privileges, and the GRANTs that fix them.

use std::fmt;

use crate::postgres::identifier::quoted;
use crate::retool::privileges::column::Column;
use crate::retool::privileges::grantee::Grantee;

/// Missing tables, columns and GRANTs of a set of columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lacking {
    /// Tables missing from the search_path, each once.
    pub(crate) tables: Vec<&'static str>,
    /// Columns missing from their tables.
    pub(crate) columns: Vec<Column>,
    /// The GRANTs that make the other columns readable.
    pub(crate) grants: Vec<String>,
}

impl Lacking {
    /// Whether a table or column is missing.
    pub(crate) fn is_absent(&self) -> bool {
        !self.tables.is_empty() || !self.columns.is_empty()
    }

    /// The missing tables and columns, each in a few words.
    pub(crate) fn absent(&self) -> Vec<String> {
        let tables = self.tables.iter().map(|table| format!("the search_path has no table {table}"));
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
    /// The GRANTs to run.
    pub(crate) fn grants(&self) -> &[String] {
        &self.grants
    }

    /// The role may not set columns of a new row in `groups`.
    pub(crate) fn to_insert_groups(grantee: Grantee<'_>, columns: &[String]) -> Self {
        let grant = grantee.on_columns("INSERT", columns.iter().map(String::as_str), "groups");
        Self { role: grantee.role.to_owned(), grants: vec![grant] }
    }

    /// The role may not connect to the database.
    pub(crate) fn to_connect(role: &str, database: &str) -> Self {
        let grant = format!("GRANT CONNECT ON DATABASE {} TO {};", quoted(database), quoted(role));
        Self { role: role.to_owned(), grants: vec![grant] }
    }
}

impl fmt::Display for MissingPrivileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the database role {} lacks privileges; run as the owner of Retool's tables: {}",
            self.role,
            self.grants.join(" ")
        )
    }
}
