//! Grants in unusual numbers and sizes: the database finds no fault in the pages of any file.

use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::agent::c1z::tests::support::{
    Organization, Outcome, TOKEN, database, entitlement, grant, hands_on, integrity, number, open, resource,
    rows,
};
use crate::agent::c1z::{Store, SyncKind};
use crate::proto::connector::{Grant, Resource};

/// All rows of the grants table, as text.
const ALL: &str = "SELECT concat_ws('|', external_id, sync_id, entitlement_id, principal_resource_type_id,
        principal_resource_id, resource_type_id, resource_id, hex(expansion), needs_expansion, hex(data))
    FROM v1_grants NOT INDEXED ORDER BY external_id, sync_id";

/// Checks the grants of any file: the pages, and that each index has all rows of the table.
fn check(path: &Path) -> Outcome {
    let file = database(path)?;
    assert_eq!(integrity(&file)?, ["ok"]);
    assert_eq!(number(&file, "PRAGMA freelist_count")?, 0);
    let all = number(&file, "SELECT count(*) FROM v1_grants NOT INDEXED")?;
    for (index, condition) in [
        ("idx_grants_external_sync_v1", "external_id >= ''"),
        ("idx_grants_entitlement_id_principal_id_v1", "entitlement_id >= ''"),
        ("idx_grants_entitlement_sync_grant_v1", "entitlement_id >= ''"),
        ("idx_grants_principal_id_v1", "principal_resource_type_id >= ''"),
        ("idx_grants_resource_type_id_resource_id_v1", "resource_type_id >= ''"),
    ] {
        let query = format!("SELECT count(*) FROM v1_grants INDEXED BY {index} WHERE {condition}");
        assert_eq!(number(&file, &query)?, all, "{index}");
    }
    Ok(())
}

fn finish(mut store: Store) -> Outcome {
    store.expand(&mut |_, _| ControlFlow::Continue(()))?;
    store.finish(TOKEN)?;
    store.close()?.ok_or("no file was written")?;
    Ok(())
}

/// One user for each length, whose id has this length, with a grant on one page whose description has the
/// given length.
fn made(users: &[usize], description: usize) -> Organization {
    let mut made = Organization::new(0, 1, 1);
    for (number, length) in users.iter().enumerate() {
        made.resources.push(resource("user", &format!("{number}{}", "u".repeat(*length))));
    }
    let owner = Resource { description: "d".repeat(description), ..resource("page", "p1") };
    for user in
        made.resources.iter().filter(|one| one.id.as_ref().is_some_and(|id| id.resource_type == "user"))
    {
        made.grants.push(grant(entitlement(&owner, "use"), user.clone(), Vec::new()));
    }
    made
}

#[test]
fn files_with_no_grant_or_one_grant_are_valid() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (name, users) in [("none", &[][..]), ("one", &[3]), ("large", &[5_000]), ("huge", &[300_000])] {
        let path = folder.path().join(name);
        made(users, 0).sync(&path)?;
        check(&path)?;
        assert_eq!(number(&database(&path)?, "SELECT count(*) FROM v1_grants")?, users.len() as i64);
    }
    Ok(())
}

#[test]
fn files_with_exactly_full_pages_are_valid() -> Outcome {
    let folder = tempfile::tempdir()?;
    // One additional byte each time: at some lengths the rows fill a page to the last byte, at others each
    // index does.
    for length in 0..140 {
        let path = folder.path().join(format!("{length}"));
        made(&[length % 70; 90], length).sync(&path)?;
        check(&path)?;
    }
    Ok(())
}

/// Lengths around the thresholds of the format: a longer length field, and overflow pages.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0_usize..70,
        1 => 430_usize..520,
        1 => 930_usize..1_030,
        1 => 3_700_usize..4_100,
        1 => 7_900_usize..8_250,
        1 => 16_200_usize..20_500,
    ]
}

/// The length of a user's id, the length of the description on its grant, and a variant of the grant: an
/// unusual id, a grant through a group, or none of these.
fn holder() -> impl Strategy<Value = (usize, usize, u8)> {
    (length(), length(), 0_u8..4)
}

fn odd(holders: &[(usize, usize, u8)]) -> Organization {
    let mut made = Organization::new(0, 2, 2);
    let group = |name: &str| entitlement(&resource("group", name), "member");
    made.grant("p1", "g1", vec![hands_on(&["group:g1:member"], false, &[])]);
    made.grant("p2", "g1", vec![hands_on(&["group:g1:member"], true, &["user"])]);
    for (number, (user, described, what)) in holders.iter().enumerate() {
        let user = resource("user", &format!("{number}{}", "u".repeat(*user)));
        made.resources.push(user.clone());
        let owner = Resource { description: "d".repeat(*described), ..resource("page", "p1") };
        let direct = || grant(entitlement(&owner, "use"), user.clone(), Vec::new());
        match what {
            0 => made.grants.push(grant(group("g1"), user, Vec::new())),
            1 => made.grants.extend([grant(group("g1"), user.clone(), Vec::new()), direct()]),
            2 => made.grants.push(Grant { id: format!("{}{number}", "i".repeat(*described)), ..direct() }),
            _ => made.grants.push(direct()),
        }
    }
    made
}

/// The rows before and after, and a count.
type Written = (Vec<String>, Vec<String>, i64);

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// An interrupted and resumed sync, and the syncs that are kept next to it.
    #[test]
    fn resumed_files_are_valid(holders in prop::collection::vec(holder(), 0..60), stop in 0_usize..60) {
        let made = odd(&holders);
        let written = || -> Result<Written, Box<dyn std::error::Error>> {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("sync.c1z");
            made.sync(&path)?;
            check(&path)?;
            let first = rows(&database(&path)?, ALL)?;
            let mut store = open(&path)?;
            store.start(SyncKind::Full)?;
            store.put_grants(made.grants.iter().take(stop).cloned().collect())?;
            store.close()?;
            check(&path)?;
            let mut store = open(&path)?;
            assert!(store.start(SyncKind::Full)?.resumed);
            made.put(&mut store)?;
            finish(store)?;
            check(&path)?;
            let file = database(&path)?;
            let of_first = "WHERE sync_id = (SELECT sync_id FROM v1_sync_runs ORDER BY id LIMIT 1) ORDER BY";
            let kept = rows(&file, &ALL.replace("ORDER BY", of_first))?;
            Ok((first, kept, number(&file, "SELECT count(*) FROM v1_grants")?))
        };
        let (first, kept, all) = written().map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&first, &kept);
        prop_assert_eq!(all, 2 * first.len() as i64);
    }
}
