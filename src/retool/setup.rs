//! The script that prepares Retool's database for a role (decision documented-script). It is built from the
//! same declarations as the probe of privileges.
//!
//! The script is plain SQL for any client. The role's name is an identifier in the GRANTs, and a literal in
//! one setting that the DO blocks read. A name can therefore not end the quotes of a block.

use std::fmt::Write as _;

use crate::postgres::identifier::{RoleName, quoted};
use crate::retool::fragment::fill;
use crate::retool::privileges::reads::{
    AUDIT, FOLDERS, OPTIONAL, Optional, Reads, of_go_connector, parts_left_out, reads_of,
};
use crate::retool::privileges::{
    Column, Feature, GROUPS, NUMBERING, Need, PAGES_UPDATED_AT, RIGHTS_BY_DEFAULT, Scope,
};

/// What a script grants in addition to the reads of every sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// Changes of group members.
    pub groups: bool,
    /// Changes of groups' access to apps; with `groups` also of single users' access.
    pub pages: bool,
    /// Archived groups, last activity, folders and the audit log.
    pub extras: bool,
}

impl Wanted {
    fn features(self, scope: Scope) -> impl Iterator<Item = Feature> {
        scope.features().into_iter().filter(move |feature| match feature {
            Feature::Groups => self.groups,
            Feature::Pages => self.pages,
            // A user gets access to an app by joining the group created for it, so both features are needed.
            Feature::ManagedGroups => self.groups && self.pages,
        })
    }
}

/// The expression that reads the role's name in the DO blocks.
const ROLE: &str = "pg_catalog.current_setting('baton_retool.role')";

/// Returns the script for a connector of this scope. It can be run repeatedly, revokes nothing, and runs in
/// one transaction. It contains the wanted changes only if the scope allows them.
pub(crate) fn script(role: &RoleName, wanted: Wanted, scope: Scope) -> String {
    let mut script = head(role, wanted, scope);
    for reads in reads_of(scope) {
        grant_reads(&mut script, reads, role);
    }
    let of_go_connector = of_go_connector().filter(|column| scope.reads(column.table));
    let note = "What only the Go connector reads, so that you can switch back.";
    grant_if_there(&mut script, note, of_go_connector.map(|column| (column, String::new())));
    let optional = || OPTIONAL.iter().filter(|optional| scope.reads(optional.column.table));
    let base = optional().filter(|optional| !optional.extra);
    let note = "Optional. Skipped if this Retool does not have the column.";
    grant_if_there(&mut script, note, base.map(|optional| (optional.column, without(optional))));
    if wanted.extras {
        let extras = optional().filter(|optional| optional.extra);
        let note = "Extras: archived groups, and the last activity and the type of users.";
        grant_if_there(&mut script, note, extras.map(|optional| (optional.column, without(optional))));
        // Doctor compares folders only if it can read both apps and resources.
        let folders = if scope.skip_pages || scope.skip_resources { &[] } else { FOLDERS };
        for (note, tables) in [
            ("Extras: folders. Doctor checks them; syncs do not read them.", folders),
            (
                "Extras: the audit log. Doctor checks the time of its last entry; syncs do not read it. Not its metadata, in which \
                 Retool stores whole objects, nor the address and the browser of users.",
                AUDIT,
            ),
        ] {
            // The table's purpose becomes the comment of its first column.
            let columns = tables.iter().flat_map(|reads| {
                let purposes = std::iter::once(reads.purpose).chain(std::iter::repeat(""));
                reads.columns().zip(purposes).map(|((column, _), purpose)| (column, purpose.to_owned()))
            });
            grant_if_there(&mut script, note, columns);
        }
    }
    for feature in wanted.features(scope) {
        grant_changes(&mut script, feature, role);
    }
    script.push_str("\nCOMMIT;\n");
    script
}

fn without(optional: &Optional) -> String {
    format!("without it {}", optional.loss)
}

fn head(role: &RoleName, wanted: Wanted, scope: Scope) -> String {
    let features: Vec<&str> = [(wanted.groups, "groups"), (wanted.pages, "pages")]
        .into_iter()
        .filter_map(|(wanted, name)| wanted.then_some(name))
        .collect();
    let changes = match &features[..] {
        [] => "It changes nothing in Retool.".to_owned(),
        features => format!("It may change: {}.", features.join(", ")),
    };
    let extras = if wanted.extras { " With extras." } else { "" };
    let left_out: Vec<&str> = parts_left_out(scope).map(|part| part.what).collect();
    let without = match &left_out[..] {
        [] => String::new(),
        parts => format!(" Without {}.", parts.join(" and ")),
    };
    let name = if role.is_one_line() { role.to_string() } else { "\"name\"".to_owned() };
    let literal = role.literal();
    format!(
        "\
-- The privileges of baton-retool's role in Retool's database: those that this release and the earlier Go
-- connector need, and no others.
-- {changes}{extras}{without}
--
-- Run it in Retool's own database as the owner of its tables, with any client, as often as you like. It revokes
-- no privilege that was granted before. If the owner may not create roles, have another role create it first.
--
-- A new role has no password and cannot log in with one until you set it, outside this script:
--   ALTER ROLE {name} PASSWORD '...';
-- or, so that it appears in no log, with psql: \\password {name}

BEGIN;

SET LOCAL baton_retool.role = {literal};

DO $block$
DECLARE
    schema_name pg_catalog.text;
    others pg_catalog.text;
BEGIN
    IF pg_catalog.to_regclass('organizations') IS NULL THEN
        RAISE EXCEPTION 'this is not a Retool database: the search_path has no table organizations';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname::pg_catalog.text OPERATOR(pg_catalog.=) {ROLE}) THEN
        EXECUTE pg_catalog.format('CREATE ROLE %I LOGIN', {ROLE});
    END IF;
    -- Allow access to the tables, even if the default privileges of PUBLIC were revoked. The owner of the
    -- tables does not always own the database or the schema.
    IF pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CONNECT WITH GRANT OPTION') THEN
        EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO %I', pg_catalog.current_database(), {ROLE});
    ELSIF NOT pg_catalog.has_database_privilege({ROLE}, pg_catalog.current_database(), 'CONNECT') THEN
        RAISE EXCEPTION '% may not connect, and % may not allow it: let the owner of the database run '
            'GRANT CONNECT ON DATABASE % TO %; and run this script again', pg_catalog.quote_ident({ROLE}),
            pg_catalog.quote_ident(current_user), pg_catalog.quote_ident(pg_catalog.current_database()), pg_catalog.quote_ident({ROLE});
    END IF;
    SELECT nspname INTO schema_name
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid OPERATOR(pg_catalog.=) relnamespace
    WHERE pg_class.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('organizations');
    IF pg_catalog.has_schema_privilege(schema_name, 'USAGE WITH GRANT OPTION') THEN
        EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', schema_name, {ROLE});
    ELSIF NOT pg_catalog.has_schema_privilege({ROLE}, schema_name, 'USAGE') THEN
        RAISE EXCEPTION '% may not use the schema of the tables, and % may not allow it: let the owner of the schema '
            'run GRANT USAGE ON SCHEMA % TO %; and run this script again', pg_catalog.quote_ident({ROLE}),
            pg_catalog.quote_ident(current_user), pg_catalog.quote_ident(schema_name), pg_catalog.quote_ident({ROLE});
    END IF;
    -- Anyone who may create in the schema can define operators that the triggers of Retool's tables run with the
    -- rights of the role that changes a row.
    SELECT pg_catalog.string_agg(CASE WHEN acl.grantee OPERATOR(pg_catalog.=) 0 THEN 'everyone'
                                      ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(acl.grantee)) END, ', ')
        INTO others
    FROM pg_catalog.pg_namespace, pg_catalog.aclexplode(nspacl) AS acl
    WHERE nspname::pg_catalog.text OPERATOR(pg_catalog.=) schema_name
      AND acl.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND acl.grantee OPERATOR(pg_catalog.<>) nspowner
      AND acl.grantee OPERATOR(pg_catalog.<>) (SELECT relowner FROM pg_catalog.pg_class
                                               WHERE pg_class.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('organizations'));
    IF others IS NOT NULL THEN
        RAISE WARNING 'roles other than its owner may create objects in schema %: %; unless they need to, run REVOKE CREATE ON SCHEMA % '
            'FROM PUBLIC, or from the role', pg_catalog.quote_ident(schema_name), others, pg_catalog.quote_ident(schema_name);
    END IF;
END $block$;
"
    )
}

fn grant_reads(script: &mut String, reads: &Reads, role: &RoleName) {
    let columns = reads.columns().map(|(column, _)| quoted(column.name)).collect::<Vec<_>>();
    let mut letters = reads.purpose.chars();
    let purpose = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters);
    comment(script, &format!("{}.", purpose.collect::<String>()));
    grant(script, "SELECT", &columns, reads.table, role);
}

/// Adds a DO block that grants the columns that exist and that the role that runs the script may grant. Another
/// role may own a table of that name.
fn grant_if_there(script: &mut String, note: &str, columns: impl Iterator<Item = (Column, String)>) {
    let columns: Vec<_> = columns.collect();
    if columns.is_empty() {
        return;
    }
    comment(script, note);
    script.push_str(
        "\
DO $block$
DECLARE
    wanted pg_catalog.record;
BEGIN
    FOR wanted IN
        SELECT attribute.attrelid::pg_catalog.regclass AS of_table, attribute.attname AS of_column
        FROM (VALUES
",
    );
    for (at, (column, reason)) in columns.iter().enumerate() {
        let comma = if at + 1 < columns.len() { "," } else { "" };
        let reason = if reason.is_empty() { reason.clone() } else { format!(" -- {reason}") };
        put(script, format_args!("            ('{}', '{}'){comma}{reason}\n", column.table, column.name));
    }
    put(
        script,
        format_args!(
            "        ) AS listed (of_table, of_column)
        JOIN pg_catalog.pg_attribute AS attribute
          ON attribute.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(listed.of_table)
         AND attribute.attname::pg_catalog.text OPERATOR(pg_catalog.=) listed.of_column
         AND pg_catalog.has_column_privilege(attribute.attrelid, attribute.attnum, 'SELECT WITH GRANT OPTION')
    LOOP
        EXECUTE pg_catalog.format('GRANT SELECT (%I) ON %s TO %I', wanted.of_column, wanted.of_table, {ROLE});
    END LOOP;
END $block$;
"
        ),
    );
}

fn grant_changes(script: &mut String, feature: Feature, role: &RoleName) {
    comment(
        script,
        match feature {
            Feature::Groups => "To add users to groups, make them the group's admin, and remove them.",
            Feature::Pages => "To give groups access to apps, change its level, and remove it.",
            Feature::ManagedGroups => {
                "To give single users access to apps. Retool gives access to groups only, so a group is created \
                 for each app and level, without the rights that Retool gives by default."
            }
        },
    );
    let mut needs = feature.needs();
    if feature == Feature::Pages {
        needs.push(PAGES_UPDATED_AT);
    }
    for privilege in ["INSERT", "UPDATE"] {
        let of_kind: Vec<&Need> = needs.iter().filter(|need| need.privilege() == privilege).collect();
        let columns = of_kind.iter().map(|need| quoted(need.column())).collect::<Vec<_>>();
        if let Some(need) = of_kind.first() {
            grant(script, privilege, &columns, need.table(), role);
        }
    }
    for need in &needs {
        if let Need::Delete(table) = need {
            put(script, format_args!("GRANT DELETE ON {table} TO {role};\n"));
        }
    }
    for need in &needs {
        if let Need::Sequence(table) = need {
            let numbering = fill(NUMBERING, "table", &format!("pg_catalog.to_regclass('{table}')"))
                .replace('\n', "\n    ");
            put(
                script,
                format_args!(
                    "\
DO $block$
DECLARE
    numbering pg_catalog.record;
BEGIN
    -- The sequence that numbers the rows.
    FOR numbering IN{numbering}
    LOOP
        EXECUTE pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO %I', numbering.name, {ROLE});
    END LOOP;
END $block$;
"
                ),
            );
        }
    }
    if feature == Feature::ManagedGroups {
        let rights = RIGHTS_BY_DEFAULT.replace(GROUPS, "'groups'").trim().replace('\n', "\n        ");
        put(
            script,
            format_args!(
                "\
DO $block$
DECLARE
    right_of_group pg_catalog.record;
BEGIN
    FOR right_of_group IN
        {rights}
    LOOP
        EXECUTE pg_catalog.format('GRANT INSERT (%I) ON groups TO %I', right_of_group.name, {ROLE});
    END LOOP;
END $block$;
"
            ),
        );
    }
}

fn grant(script: &mut String, privilege: &str, columns: &[String], table: &str, role: &RoleName) {
    put(script, format_args!("GRANT {privilege} ({}) ON {table} TO {role};\n", columns.join(", ")));
}

/// Adds a comment as a paragraph, wrapped to a readable width.
fn comment(script: &mut String, text: &str) {
    const WIDTH: usize = 110;
    let mut line = String::from("\n--");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            put(script, format_args!("{line}\n"));
            line = String::from("--");
        }
        line.push(' ');
        line.push_str(word);
    }
    put(script, format_args!("{line}\n"));
}

fn put(script: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = script.write_fmt(text);
}
