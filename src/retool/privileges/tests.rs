#![allow(clippy::unwrap_used)]

use super::*;

fn all(standing: Standing) -> Privileges {
    let standings = required(Scope::default())
        .chain(OPTIONAL.iter().map(|optional| optional.column))
        .map(|column| (column, standing))
        .collect();
    Privileges {
        standings,
        role: "Baton-1".into(),
        schema: Some("public".into()),
        server_version: 150_000,
        closed_schema: None,
        writes: None,
        features: Vec::new(),
        row_security: BTreeMap::new(),
    }
}

fn with(changes: &[(&'static str, &'static str, Standing)]) -> Privileges {
    let mut privileges = all(Standing::Readable);
    for (table, name, standing) in changes {
        privileges.standings.insert(Column { table, name }, *standing);
    }
    privileges
}

#[test]
fn a_missing_privilege_shows_the_grant_with_identifiers_quoted_as_needed() {
    let privileges = with(&[
        ("users", "email", Standing::NotGranted),
        ("users", "lastLoggedIn", Standing::NotGranted),
        ("group_pages", "pageId", Standing::NotGranted),
    ]);
    let text = privileges.require(Scope::default()).unwrap_err().to_string();
    assert!(text.contains(r#"GRANT SELECT (email, "lastLoggedIn") ON users TO "Baton-1";"#), "{text}");
    assert!(text.contains(r#"GRANT SELECT ("pageId") ON group_pages TO "Baton-1";"#), "{text}");
}

#[test]
fn skipped_resource_types_need_no_privilege() {
    let privileges = with(&[
        ("group_pages", "pageId", Standing::NotGranted),
        ("resources", "name", Standing::NoSuchColumn),
    ]);
    assert!(privileges.require(Scope { skip_pages: true, skip_resources: true, ..Scope::default() }).is_ok());
    assert!(privileges.require(Scope { skip_pages: true, ..Scope::default() }).is_err());
}

#[test]
fn another_database_is_not_reported_as_a_missing_grant() {
    let text = all(Standing::NoSuchTable).require(Scope::default()).unwrap_err().to_string();
    assert!(text.contains("no table organizations"), "{text}");
    assert!(!text.contains("GRANT"), "{text}");
}

#[test]
fn warns_of_an_ungranted_archived_at_but_not_of_an_old_retool() {
    let warnings = with(&[("groups", "archivedAt", Standing::NotGranted)]).warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains(r#"GRANT SELECT ("archivedAt") ON groups"#), "{}", warnings[0]);
    assert!(with(&[("groups", "archivedAt", Standing::NoSuchColumn)]).warnings().is_empty());
    assert!(with(&[("users", "userType", Standing::NotGranted)]).warnings().is_empty());
}
