//! The text of GRANT statements for the database role.

use crate::postgres::identifier::quoted;

/// The schema that `psql` searches by default.
const DEFAULT_SCHEMA: &str = "public";

/// The role that lacks privileges, and the schema of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grantee<'a> {
    pub(crate) role: &'a str,
    /// `None` if no table was found.
    pub(crate) schema: Option<&'a str>,
}

impl Grantee<'_> {
    /// The GRANT of a privilege on a whole table.
    pub(crate) fn on_table(self, privilege: &str, table: &str) -> String {
        format!("GRANT {privilege} ON {} TO {};", self.name(table), quoted(self.role))
    }

    /// The GRANT of a privilege on columns of a table.
    pub(crate) fn on_columns<'a>(
        self,
        privilege: &str,
        columns: impl IntoIterator<Item = &'a str>,
        table: &str,
    ) -> String {
        let columns: Vec<String> = columns.into_iter().map(quoted).collect();
        self.on_table(&format!("{privilege} ({})", columns.join(", ")), table)
    }

    /// The GRANT on a sequence, whose name is given as Postgres spells it.
    pub(crate) fn on_sequence(self, sequence: &str) -> String {
        format!("GRANT USAGE ON SEQUENCE {sequence} TO {};", quoted(self.role))
    }

    /// The table with its schema, unless it is in `public`, which `psql` searches by default.
    pub(crate) fn name(self, table: &str) -> String {
        match self.schema {
            Some(schema) if schema != DEFAULT_SCHEMA => format!("{}.{}", quoted(schema), quoted(table)),
            _ => quoted(table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_names_the_schema_unless_psql_searches_it_by_default() {
        let grant = |schema| {
            Grantee { role: "Baton-1", schema }.on_columns("SELECT", ["id", "pageId"], "group_pages")
        };
        assert_eq!(grant(Some("public")), r#"GRANT SELECT (id, "pageId") ON group_pages TO "Baton-1";"#);
        assert_eq!(grant(None), r#"GRANT SELECT (id, "pageId") ON group_pages TO "Baton-1";"#);
        assert_eq!(
            grant(Some("Retool main")),
            r#"GRANT SELECT (id, "pageId") ON "Retool main".group_pages TO "Baton-1";"#
        );
    }
}
