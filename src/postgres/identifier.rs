//! Quoting of identifiers and literals in SQL text.

use std::fmt;

/// Longest name of a role in bytes. Postgres truncates a longer name, which would then mean another role.
const LONGEST: usize = 63;

/// Keywords that some version of Postgres misinterprets unless they are quoted: all keywords except the
/// unreserved ones.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit \
     boolean both case cast char character check coalesce collate collation column concurrently constraint create \
     cross current_catalog current_date current_role current_schema current_time current_timestamp current_user dec \
     decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign freeze \
     from full grant greatest group grouping having ilike in initially inner inout int integer intersect interval \
     into is isnull join json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar \
     json_serialize json_table json_value lateral leading least left like limit localtime localtimestamp \
     merge_action national natural nchar none normalize not notnull null nullif numeric offset on only or order out \
     outer overlaps overlay placing position precision primary real references returning right row select \
     session_user setof similar smallint some substring symmetric system_user table tablesample then time timestamp \
     to trailing treat trim true union unique user using values varchar variadic verbose when where window with \
     xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize \
     xmltable";

/// Quotes an identifier if Postgres requires it.
pub(crate) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !KEYWORDS.split_ascii_whitespace().any(|keyword| keyword == name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Quotes a literal for any value of the server's `standard_conforming_strings`.
pub(crate) fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    if escaped.contains('\\') { format!("E'{escaped}'") } else { format!("'{escaped}'") }
}

/// A valid name of a new role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleName(String);

/// Why a text is not a valid name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoleNameError {
    /// It is empty.
    #[error("the name of a role cannot be empty")]
    Empty,
    /// It is longer than Postgres's limit in bytes.
    #[error("the name of a role has at most {LONGEST} bytes, this one has {bytes}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It contains a NUL, which no text in Postgres can contain.
    #[error("the name of a role cannot have a NUL character")]
    Nul,
    /// Postgres reserves the name for another meaning, even in quotes, or for its own roles.
    #[error("Postgres reserves public, none and names that begin with pg_")]
    Reserved,
}

impl RoleName {
    /// Accepts the text unchanged: upper case, spaces and quotes are part of the name.
    ///
    /// # Errors
    /// [`RoleNameError`]
    pub(crate) fn new(name: &str) -> Result<Self, RoleNameError> {
        if name.is_empty() {
            return Err(RoleNameError::Empty);
        }
        if name.len() > LONGEST {
            return Err(RoleNameError::TooLong { bytes: name.len() });
        }
        if name.contains('\0') {
            return Err(RoleNameError::Nul);
        }
        if matches!(name, "public" | "none") || name.starts_with("pg_") {
            return Err(RoleNameError::Reserved);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as an SQL literal for any value of the server's `standard_conforming_strings`.
    pub(crate) fn literal(&self) -> String {
        literal(&self.0)
    }

    /// Whether the name may be part of an SQL comment, which a line break would end.
    pub(crate) fn is_one_line(&self) -> bool {
        !self.0.chars().any(char::is_control)
    }
}

/// Writes the name as an SQL identifier.
impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quotes_identifiers_only_if_necessary() {
        for (name, expected) in [
            ("baton", "baton"),
            ("_b1", "_b1"),
            ("1b", "\"1b\""),
            ("Baton", "\"Baton\""),
            ("user", "\"user\""),
            ("current_user", "\"current_user\""),
            ("a\"b; --", "\"a\"\"b; --\""),
            ("é", "\"é\""),
        ] {
            assert_eq!(RoleName::new(name).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_literal_escapes_quotes_and_backslashes() {
        let literal = |name| RoleName::new(name).unwrap().literal();
        assert_eq!(literal("baton"), "'baton'");
        assert_eq!(literal("o'neil"), "'o''neil'");
        assert_eq!(literal(r"back\slash'"), r"E'back\\slash'''");
    }

    #[test]
    fn rejects_names_that_postgres_would_interpret_differently() {
        assert_eq!(RoleName::new(""), Err(RoleNameError::Empty));
        assert_eq!(RoleName::new("a\0b"), Err(RoleNameError::Nul));
        assert_eq!(RoleName::new(&"é".repeat(32)), Err(RoleNameError::TooLong { bytes: 64 }));
        assert!(RoleName::new(&"x".repeat(63)).is_ok());
        for name in ["public", "none", "pg_read_all_data"] {
            assert_eq!(RoleName::new(name), Err(RoleNameError::Reserved), "{name}");
        }
    }
}
