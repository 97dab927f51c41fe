#![allow(clippy::unwrap_used)]

use super::*;

fn all(column_status: ColumnStatus) -> Privileges {
    let column_statuses = required(Scope::default())
        .chain(OPTIONAL.iter().map(|optional| optional.column))
        .map(|column| (column, column_status))
        .collect();
    Privileges {
        column_statuses,
        role: "Baton-1".into(),
        schema: Some("public".into()),
        server_version: 150_000,
        closed_schema: None,
        writes: None,
        features: Vec::new(),
        row_security: BTreeMap::new(),
    }
}

fn with(changes: &[(&'static str, &'static str, ColumnStatus)]) -> Privileges {
    let mut privileges = all(ColumnStatus::Readable);
    for (table, name, column_status) in changes {
        privileges.column_statuses.insert(Column { table, name }, *column_status);
    }
    privileges
}

#[test]
fn a_missing_privilege_shows_the_grant_with_identifiers_quoted_as_needed() {
    let privileges = with(&[
        ("users", "email", ColumnStatus::NotGranted),
        ("users", "lastLoggedIn", ColumnStatus::NotGranted),
        ("group_pages", "pageId", ColumnStatus::NotGranted),
    ]);
    let text = privileges.require(Scope::default()).unwrap_err().to_string();
    assert!(text.contains(r#"GRANT SELECT (email, "lastLoggedIn") ON users TO "Baton-1";"#), "{text}");
    assert!(text.contains(r#"GRANT SELECT ("pageId") ON group_pages TO "Baton-1";"#), "{text}");
}

#[test]
fn skipped_resource_types_need_no_privilege() {
    let privileges = with(&[
        ("group_pages", "pageId", ColumnStatus::NotGranted),
        ("resources", "name", ColumnStatus::NoSuchColumn),
    ]);
    assert!(privileges.require(Scope { skip_pages: true, skip_resources: true, ..Scope::default() }).is_ok());
    assert!(privileges.require(Scope { skip_pages: true, ..Scope::default() }).is_err());
}

#[test]
fn another_database_is_not_reported_as_a_missing_grant() {
    let text = all(ColumnStatus::NoSuchTable).require(Scope::default()).unwrap_err().to_string();
    assert!(text.contains("no table organizations"), "{text}");
    assert!(!text.contains("GRANT"), "{text}");
}

#[test]
fn warns_of_an_ungranted_archived_at_but_not_of_an_old_retool() {
    let warnings = with(&[("groups", "archivedAt", ColumnStatus::NotGranted)]).warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains(r#"GRANT SELECT ("archivedAt") ON groups"#), "{}", warnings[0]);
    assert!(with(&[("groups", "archivedAt", ColumnStatus::NoSuchColumn)]).warnings().is_empty());
    assert!(with(&[("users", "userType", ColumnStatus::NotGranted)]).warnings().is_empty());
}

/// The rows of the table of columns in `docs/database-role.md`: the table, then its columns that are always
/// granted, granted with extras, and granted for the Go connector.
fn documented() -> Vec<[Vec<String>; 4]> {
    let page = include_str!("../../../docs/database-role.md");
    let (_, rest) = page.split_once("<!-- columns -->").unwrap();
    let (table, _) = rest.split_once("<!-- /columns -->").unwrap();
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let row = |row: &str| {
        let mut cells = row.split('|').skip(1).map(names);
        std::array::from_fn(|_| cells.next().unwrap())
    };
    table.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[test]
fn the_page_about_the_role_lists_every_column() {
    let optional = |table: &str, extra| {
        let of_table = OPTIONAL.iter().filter(move |it| it.column.table == table && it.extra == extra);
        of_table.map(|it| it.column.name.to_owned()).collect::<Vec<_>>()
    };
    let names = |reads: &reads::Reads| -> Vec<_> {
        reads.columns().map(|(column, _)| column.name.to_owned()).collect()
    };
    let base = reads::reads_of(Scope::default()).map(|reads| {
        let table = reads.table;
        let old = reads::of_go_connector().filter(|column| column.table == table);
        let always = [names(reads), optional(table, false)].concat();
        let old = old.map(|column| column.name.to_owned()).collect();
        [vec![table.to_owned()], always, optional(table, true), old]
    });
    let extras = reads::FOLDERS.iter().chain(reads::AUDIT);
    let extras = extras.map(|reads| [vec![reads.table.to_owned()], vec![], names(reads), vec![]]);
    assert_eq!(base.chain(extras).collect::<Vec<_>>(), documented());
}

#[test]
fn a_missing_optional_column_that_an_operation_needs_is_reported_as_another_version() {
    let sid = Column { table: "users", name: "sid" };
    let error = with(&[("users", "sid", ColumnStatus::NoSuchColumn)]).require_column(sid).unwrap_err();
    assert!(
        matches!(&error, DatabaseError::OtherVersion { absent } if absent[0].contains("sid")),
        "{error:?}"
    );
}
