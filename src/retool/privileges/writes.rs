//! What the role may change. The privileges are probed like those for reading.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::Type;

use crate::postgres::error::PostgresError;
use crate::postgres::identifier::literal;
use crate::postgres::session::Session;
use crate::postgres::statement::{self, Parameter};
use crate::retool::fragment::fill;
use crate::retool::privileges::column::Column;
use crate::retool::privileges::grantee::Grantee;
use crate::retool::privileges::missing::{Lacking, MissingPrivileges};

/// A kind of change that needs its own privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Members of groups, and the admins among them.
    Groups,
    /// The access of groups to pages.
    Pages,
    /// Groups that are created to give single users access to a page.
    ManagedGroups,
}

/// A privilege on a table, a column or a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Insert(Column),
    Update(Column),
    Delete(&'static str),
    /// The privilege on the sequence that numbers the rows of the table.
    Sequence(&'static str),
}

impl Feature {
    /// Every feature, in the order in which an operator grants them.
    pub(crate) const ALL: [Self; 3] = [Self::Groups, Self::Pages, Self::ManagedGroups];

    /// The privileges that the feature needs, in addition to [`RIGHTS_BY_DEFAULT`] for managed groups.
    pub(crate) fn needs(self) -> Vec<Need> {
        let insert = |table, names: &[&'static str]| -> Vec<Need> {
            names.iter().map(|name| Need::Insert(Column { table, name })).collect()
        };
        let update = |table, names: &[&'static str]| -> Vec<Need> {
            names.iter().map(|name| Need::Update(Column { table, name })).collect()
        };
        match self {
            Self::Groups => [
                insert("user_groups", &["userId", "groupId", "isAdmin", "createdAt", "updatedAt"]),
                update("user_groups", &["isAdmin", "updatedAt"]),
                vec![Need::Delete("user_groups"), Need::Sequence("user_groups")],
            ]
            .concat(),
            Self::Pages => [
                insert("group_pages", &["groupId", "pageId", "accessLevel", "createdAt", "updatedAt"]),
                update("group_pages", &["accessLevel"]),
                vec![Need::Delete("group_pages"), Need::Sequence("group_pages")],
            ]
            .concat(),
            Self::ManagedGroups => [
                insert("groups", &["name", "organizationId", "createdAt", "updatedAt"]),
                vec![Need::Sequence("groups")],
            ]
            .concat(),
        }
    }

    /// The table that the feature writes.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Groups => "user_groups",
            Self::Pages => "group_pages",
            Self::ManagedGroups => "groups",
        }
    }

    /// A readable description of what the feature changes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Groups => "members of groups",
            Self::Pages => "groups' access to apps",
            Self::ManagedGroups => "single users' access to apps",
        }
    }

    /// The effect of its absence.
    pub(crate) fn loss(self) -> &'static str {
        match self {
            Self::Groups => "users cannot be added to groups or removed",
            Self::Pages => "the access of groups to pages cannot be changed",
            Self::ManagedGroups => "single users cannot be given access to pages",
        }
    }
}

/// A change sets this column only if the role has the privilege, which roles of older scripts lack.
pub(crate) const PAGES_UPDATED_AT: Need = Need::Update(Column { table: "group_pages", name: "updatedAt" });

/// The rights that a new group has by default, and whether the role may set them. They differ between
/// versions of Retool. Every name is schema-qualified, because the script of `setup-sql` uses the statement
/// too.
pub(crate) const RIGHTS_BY_DEFAULT: &str = r#"
SELECT attribute.attname::pg_catalog.text AS name,
       attribute.atttypid OPERATOR(pg_catalog.=) 'boolean'::pg_catalog.regtype AS is_switch,
       pg_catalog.has_column_privilege(attribute.attrelid, attribute.attnum, 'INSERT') AS settable
FROM pg_catalog.pg_attribute attribute
JOIN pg_catalog.pg_attrdef given ON given.adrelid OPERATOR(pg_catalog.=) attribute.attrelid
 AND given.adnum OPERATOR(pg_catalog.=) attribute.attnum
WHERE attribute.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({'groups'})
  AND attribute.attnum OPERATOR(pg_catalog.>) 0 AND NOT attribute.attisdropped
  AND attribute.attname OPERATOR(pg_catalog.~~) '%Access'
  AND CASE WHEN attribute.atttypid OPERATOR(pg_catalog.=) 'boolean'::pg_catalog.regtype
           THEN pg_catalog.pg_get_expr(given.adbin, given.adrelid) OPERATOR(pg_catalog.<>) 'false'
           ELSE pg_catalog.pg_get_expr(given.adbin, given.adrelid) OPERATOR(pg_catalog.!~~) '''none''%' END
ORDER BY attribute.attnum
"#;

/// The placeholder of the table in [`RIGHTS_BY_DEFAULT`]; see [`template`](crate::retool::template).
pub(crate) const GROUPS: &str = "{'groups'}";

/// What the role may change, as found by one statement, and a second one for the rights of new groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Writes {
    denied: BTreeSet<Need>,
    /// Columns that this version of Retool does not have.
    absent: BTreeSet<Column>,
    /// Rights that a new group has by default and that the role may not turn off.
    rights: Vec<String>,
    /// The sequence that numbers the rows of each table, as Postgres spells it.
    sequences: BTreeMap<&'static str, String>,
}

/// Finds the sequence that numbers the rows of `{@table}` from the default of its `id`. Returns nothing for
/// an identity column, which needs no privilege, and for a missing table or column, which no GRANT fixes.
/// Every name is schema-qualified, because the script of `setup-sql` uses the query too.
pub(crate) const NUMBERING: &str = r#"
    SELECT sequence.oid, pg_catalog.quote_ident(schema.nspname) OPERATOR(pg_catalog.||) '.'
           OPERATOR(pg_catalog.||) pg_catalog.quote_ident(sequence.relname) AS name
    FROM pg_catalog.pg_attribute AS numbered
    JOIN pg_catalog.pg_attrdef AS given ON given.adrelid OPERATOR(pg_catalog.=) numbered.attrelid
     AND given.adnum OPERATOR(pg_catalog.=) numbered.attnum
    JOIN pg_catalog.pg_depend AS draws ON draws.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass
     AND draws.objid OPERATOR(pg_catalog.=) given.oid
    JOIN pg_catalog.pg_class AS sequence ON draws.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
     AND sequence.oid OPERATOR(pg_catalog.=) draws.refobjid
    JOIN pg_catalog.pg_namespace AS schema ON schema.oid OPERATOR(pg_catalog.=) sequence.relnamespace
    WHERE numbered.attrelid OPERATOR(pg_catalog.=) {@table} AND numbered.attname OPERATOR(pg_catalog.=) 'id'
      AND sequence.relkind OPERATOR(pg_catalog.=) 'S'"#;

/// Probes one privilege per row. USAGE or UPDATE on the sequence suffices.
const PROBE: &str = r#"
SELECT wanted.ordinal::int8 AS ordinal,
       CASE wanted.privilege
           WHEN 'USAGE' THEN coalesce(has_sequence_privilege(numbering.oid, 'USAGE, UPDATE'), true)
           WHEN 'DELETE' THEN coalesce(has_table_privilege(relation.oid, 'DELETE'), false)
           ELSE coalesce(has_column_privilege(attribute.attrelid, attribute.attnum, wanted.privilege), true)
       END AS allowed,
       wanted.column_name <> '' AND attribute.attnum IS NULL AS absent,
       numbering.name AS sequence
FROM unnest($1, $2, $3) WITH ORDINALITY AS wanted (privilege, table_name, column_name, ordinal)
LEFT JOIN (pg_class AS relation JOIN pg_namespace AS home ON home.oid = relation.relnamespace AND home.nspname = $4)
       ON relation.relname = wanted.table_name AND relation.relkind IN ('r', 'p', 'v', 'm', 'f')
LEFT JOIN pg_attribute AS attribute
       ON attribute.attrelid = relation.oid
      AND attribute.attname = wanted.column_name
      AND attribute.attnum > 0
      AND NOT attribute.attisdropped
LEFT JOIN LATERAL ({@numbering}
    LIMIT 1
) AS numbering ON wanted.privilege = 'USAGE'
"#;

impl Writes {
    /// Queries the server for every privilege that any feature needs or can use, on the tables of `schema`.
    /// `groups` is the qualified name of the table of groups.
    ///
    /// # Errors
    /// Only the errors of the statements.
    pub(crate) async fn probe(session: &Session, schema: &str, groups: &str) -> Result<Self, PostgresError> {
        let needs: Vec<Need> =
            Feature::ALL.into_iter().flat_map(Feature::needs).chain([PAGES_UPDATED_AT]).collect();
        let privileges: Vec<&str> = needs.iter().map(|need| need.privilege()).collect();
        let tables: Vec<&str> = needs.iter().map(|need| need.table()).collect();
        let columns: Vec<&str> = needs.iter().map(|need| need.column()).collect();
        let parameters: [Parameter<'_>; 4] = [
            (&privileges, Type::TEXT_ARRAY),
            (&tables, Type::TEXT_ARRAY),
            (&columns, Type::TEXT_ARRAY),
            (&schema, Type::TEXT),
        ];
        let probe = fill(&fill(PROBE, "numbering", NUMBERING), "table", "relation.oid");
        let of_groups = RIGHTS_BY_DEFAULT.replace(GROUPS, &literal(groups));
        let rows = statement::run(session, &probe, &parameters, |row| {
            let (ordinal, allowed): (i64, bool) = (row.try_get("ordinal")?, row.try_get("allowed")?);
            let absent: bool = row.try_get("absent")?;
            Ok((ordinal, allowed, absent, row.try_get::<_, Option<String>>("sequence")?))
        });
        let rights = statement::run(session, &of_groups, &[], |row| {
            Ok((row.try_get::<_, String>("name")?, row.try_get::<_, bool>("settable")?))
        });
        let (rows, rights) = (rows.await?, rights.await?);
        let mut writes = Self::default();
        writes.rights.extend(rights.into_iter().filter(|(_, settable)| !settable).map(|(name, _)| name));
        for (ordinal, allowed, absent, sequence) in rows {
            let Some(need) = usize::try_from(ordinal - 1).ok().and_then(|index| needs.get(index)) else {
                continue;
            };
            if !allowed {
                writes.denied.insert(*need);
            }
            if let (true, Need::Insert(column) | Need::Update(column)) = (absent, need) {
                writes.absent.insert(*column);
            }
            if let Some(sequence) = sequence {
                writes.sequences.insert(need.table(), sequence);
            }
        }
        Ok(writes)
    }

    /// Whether `group_pages."updatedAt"` may be set.
    pub(crate) fn sets_pages_updated_at(&self) -> bool {
        let Need::Update(column) = PAGES_UPDATED_AT else { return false };
        !self.denied.contains(&PAGES_UPDATED_AT) && !self.absent.contains(&column)
    }

    /// The columns that these features need and that this version of Retool does not have, each in a few
    /// words.
    pub(crate) fn absent(&self, features: &[Feature]) -> Vec<String> {
        let mut lacking = Lacking::default();
        for need in features.iter().flat_map(|feature| feature.needs()) {
            if let Need::Insert(column) | Need::Update(column) = need
                && self.absent.contains(&column)
                && !lacking.columns.contains(&column)
            {
                lacking.columns.push(column);
            }
        }
        lacking.absent()
    }

    /// The GRANTs that the role lacks for `feature`.
    pub(crate) fn missing(&self, feature: Feature, grantee: Grantee<'_>) -> Vec<String> {
        let denied: Vec<Need> =
            feature.needs().into_iter().filter(|need| self.denied.contains(need)).collect();
        let mut grants: Vec<String> = Vec::new();
        for privilege in ["INSERT", "UPDATE"] {
            let of_kind: Vec<&Need> = denied.iter().filter(|need| need.privilege() == privilege).collect();
            let mut columns: Vec<&str> = of_kind.iter().map(|need| need.column()).collect();
            let mut table = of_kind.first().map(|need| need.table());
            if (feature, privilege) == (Feature::ManagedGroups, "INSERT") && !self.rights.is_empty() {
                columns.extend(self.rights.iter().map(String::as_str));
                table = Some("groups");
            }
            if let Some(table) = table {
                grants.push(grantee.on_columns(privilege, columns, table));
            }
        }
        grants.extend(denied.iter().filter_map(|need| match need {
            Need::Delete(table) => Some(grantee.on_table("DELETE", table)),
            Need::Sequence(table) => {
                let by_default = || grantee.name(&format!("{table}_id_seq"));
                Some(grantee.on_sequence(&self.sequences.get(table).cloned().unwrap_or_else(by_default)))
            }
            Need::Insert(_) | Need::Update(_) => None,
        }));
        grants
    }

    /// Whether none of its privileges are granted, which means that it was never set up.
    pub(crate) fn is_unknown(&self, feature: Feature) -> bool {
        let mut needs = feature.needs().into_iter().filter(|need| !matches!(need, Need::Sequence(_)));
        needs.all(|need| self.denied.contains(&need))
    }

    /// Verifies that the role has all privileges for these features.
    ///
    /// # Errors
    /// Every missing GRANT.
    pub(crate) fn require(
        &self,
        features: &[Feature],
        grantee: Grantee<'_>,
    ) -> Result<(), MissingPrivileges> {
        let grants: Vec<String> =
            features.iter().flat_map(|feature| self.missing(*feature, grantee)).collect();
        if grants.is_empty() {
            Ok(())
        } else {
            Err(MissingPrivileges { role: grantee.role.to_owned(), grants })
        }
    }

    /// One sentence for each feature that lacks columns, or lacks privileges, with the GRANTs that fix it.
    pub(crate) fn warnings(&self, features: &[Feature], grantee: Grantee<'_>) -> Vec<String> {
        features
            .iter()
            .filter_map(|feature| {
                let absent = self.absent(&[*feature]);
                if !absent.is_empty() {
                    let loss = feature.loss();
                    return Some(format!(
                        "{loss}, because this Retool is not supported: {}",
                        absent.join(", ")
                    ));
                }
                let grants = self.missing(*feature, grantee);
                (!grants.is_empty())
                    .then(|| format!("{}; to change that, run: {}", feature.loss(), grants.join(" ")))
            })
            .collect()
    }
}

impl Need {
    pub(crate) fn privilege(self) -> &'static str {
        match self {
            Self::Insert(_) => "INSERT",
            Self::Update(_) => "UPDATE",
            Self::Delete(_) => "DELETE",
            Self::Sequence(_) => "USAGE",
        }
    }

    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Insert(column) | Self::Update(column) => column.table,
            Self::Delete(table) | Self::Sequence(table) => table,
        }
    }

    /// Empty for privileges on the whole table or on a sequence.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Insert(column) | Self::Update(column) => column.name,
            Self::Delete(_) | Self::Sequence(_) => "",
        }
    }
}
