//! Files written by Go agents: reading, extending, resuming and rejecting them.

use std::fs;
use std::ops::ControlFlow;

use rusqlite::Connection;

use crate::agent::c1z::tests::support::{
    Organization, Outcome, TOKEN, database, golden, integrity, number, open, rows,
};
use crate::agent::c1z::{
    DecodeLimits, EntitlementFilter, Error, GrantFilter, Page, Reader, ResourceFilter, StoreOptions, SyncKind,
};
use crate::agent::c1z::{RowId, Store};
use crate::proto::connector::{Grant, ResourceId};

const FINISHED: [&str; 2] = ["go-0.13-sqlite.c1z", "go-0.25-sqlite.c1z"];
const UNFINISHED: [&str; 2] = ["go-0.13-unfinished.c1z", "go-0.25-unfinished.c1z"];

fn read(path: &std::path::Path) -> Result<Reader, Error> {
    Reader::open(path, path.parent(), DecodeLimits::default())
}

/// All rows of a paged listing.
fn all<T>(mut page: impl FnMut(Option<RowId>) -> Result<Page<T>, Error>) -> Result<Vec<T>, Error> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let next = page(after)?;
        found.extend(next.rows);
        after = next.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

#[test]
fn reads_a_finished_file() -> Outcome {
    let folder = tempfile::tempdir()?;
    for name in FINISHED {
        let path = golden(name, folder.path())?;
        let before = fs::read(&path)?;
        let reader = read(&path)?;
        assert_eq!(reader.run()?.kind, "full");
        assert_eq!(reader.resource_types()?.len(), 5);
        let resources = |filter: &ResourceFilter| all(|after| reader.resources(filter, after, 10));
        assert_eq!(resources(&ResourceFilter::default())?.len(), 99);
        let users = ResourceFilter { resource_type: Some("user".into()), parent: None };
        assert_eq!(resources(&users)?.len(), 45);
        let entitlements = |filter: &EntitlementFilter| all(|after| reader.entitlements(filter, after, 100));
        assert_eq!(entitlements(&EntitlementFilter::default())?.len(), 226);
        let pages = EntitlementFilter { resource_type: Some("page".into()), resource: None };
        assert_eq!(entitlements(&pages)?.len(), 144);
        let grants = |filter: &GrantFilter| all(|after| reader.grants(filter, after, 1000));
        let every = grants(&GrantFilter::default())?;
        assert_eq!(every.len(), 6342);
        let group =
            ResourceId { resource_type: "group".into(), resource: "g13".into(), ..Default::default() };
        let held = grants(&GrantFilter { principal: Some(group.clone()), ..Default::default() })?;
        let by_hand: Vec<&Grant> = every
            .iter()
            .filter(|one| {
                one.principal.as_ref().is_some_and(|principal| principal.id.as_ref() == Some(&group))
            })
            .collect();
        assert!(!held.is_empty());
        assert_eq!(held.iter().collect::<Vec<_>>(), by_hand);
        assert!(reader.resource(&group)?.is_some() && reader.entitlement("group:g13:member")?.is_some());
        assert!(reader.entitlement("group:g13:nothing")?.is_none());
        drop(reader);
        assert!(fs::read(&path)? == before);
    }
    Ok(())
}

/// Removes the derived grants and all sources from the rows of a Go agent, stores and expands them again, and
/// compares every row with the agent's original.
#[test]
fn writes_the_same_rows_as_a_go_agent() -> Outcome {
    for name in FINISHED {
        let folder = tempfile::tempdir()?;
        let theirs = golden(name, folder.path())?;
        let ours = folder.path().join("ours.c1z");
        let reader = read(&theirs)?;
        let mut store = open(&ours)?;
        store.start(SyncKind::Full)?;
        store.put_resource_types(&reader.resource_types()?)?;
        store.put_resources(&reader.resources(&ResourceFilter::default(), None, 1000)?.rows)?;
        store.put_entitlements(&reader.entitlements(&EntitlementFilter::default(), None, 1000)?.rows)?;
        let mut grants = reader.grants(&GrantFilter::default(), None, 10_000)?.rows;
        grants.retain_mut(|grant| {
            let sources = grant.sources.take().unwrap_or_default().sources;
            let own = grant.entitlement.as_ref().map_or("", |one| &one.id);
            sources.is_empty() || sources.contains_key(own)
        });
        assert!(grants.len() < 3000);
        store.put_grants(grants)?;
        let expanded = store.expand(&mut |_, _| ControlFlow::Continue(()))?.ok_or("not expanded")?;
        assert!(expanded.derived > 3000, "{expanded:?}");
        store.finish(TOKEN)?;
        store.close()?;

        let (ours, theirs) = (database(&ours)?, database(&theirs)?);
        assert_eq!(integrity(&ours)?, ["ok"]);
        for (table, columns) in [
            ("v1_resource_types", "external_id, hex(data)"),
            (
                "v1_resources",
                "resource_type_id, external_id, parent_resource_type_id, parent_resource_id, hex(data)",
            ),
            ("v1_entitlements", "resource_type_id, resource_id, external_id, hex(data)"),
            (
                "v1_grants",
                "resource_type_id, resource_id, entitlement_id, principal_resource_type_id,
                 principal_resource_id, external_id, hex(expansion), needs_expansion, hex(data)",
            ),
        ] {
            let query = format!("SELECT concat_ws('|', {columns}) FROM {table} ORDER BY external_id");
            let (ours, theirs) = (rows(&ours, &query)?, rows(&theirs, &query)?);
            assert_eq!(ours.len(), theirs.len(), "{table}");
            for (our, their) in ours.iter().zip(&theirs) {
                assert_eq!(our, their, "{name} {table}");
            }
        }
        let stats = "SELECT stats FROM v1_sync_runs";
        let (mut our, their) = (rows(&ours, stats)?.remove(0), rows(&theirs, stats)?.remove(0));
        if name.contains("0.13") {
            our = our.split(",\"entitlements_by").next().unwrap_or_default().to_owned() + "}";
        }
        assert_eq!(our, their);
        let schema = "SELECT concat(type, ' ', name, ' ', tbl_name) FROM sqlite_schema ORDER BY 1";
        assert_eq!(rows(&ours, schema)?, rows(&theirs, schema)?);
        for table in rows(&ours, "SELECT name FROM sqlite_schema WHERE type = 'index'")? {
            let columns = format!("SELECT concat_ws(' ', seqno, name) FROM pragma_index_info('{table}')");
            assert_eq!(rows(&ours, &columns)?, rows(&theirs, &columns)?, "{table}");
        }
    }
    Ok(())
}

#[test]
fn extends_a_finished_file() -> Outcome {
    for name in FINISHED {
        let folder = tempfile::tempdir()?;
        let path = golden(name, folder.path())?;
        let rows_before = all_grants(&database(&path)?)?;
        let made = Organization::nested();
        made.sync(&path)?;
        let first = read(&path)?.run()?.sync_id.clone();
        let now = database(&path)?;
        assert_eq!(integrity(&now)?, ["ok"]);
        assert_eq!(number(&now, "SELECT count(*) FROM v1_sync_runs")?, 2);
        let old: Vec<String> = all_grants(&now)?.into_iter().filter(|row| !row.ends_with(&first)).collect();
        assert_eq!(old, rows_before);

        // The third full sync removes the oldest one.
        made.sync(&path)?;
        let now = database(&path)?;
        assert_eq!(integrity(&now)?, ["ok"]);
        assert_eq!(number(&now, "SELECT count(*) FROM v1_sync_runs")?, 2);
        assert_eq!(number(&now, "SELECT count(*) FROM v1_grants WHERE principal_resource_id = 'u45'")?, 0);
        assert_eq!(number(&now, "PRAGMA freelist_count")?, 0);
    }
    Ok(())
}

fn all_grants(database: &Connection) -> rusqlite::Result<Vec<String>> {
    rows(
        database,
        "SELECT concat_ws('|', external_id, hex(data), hex(expansion), needs_expansion, discovered_at, sync_id)
         FROM v1_grants ORDER BY id",
    )
}

/// Sets the age of the unfinished sync in a file.
fn age(path: &std::path::Path, modifier: &str) -> Outcome {
    let aged = path.with_extension("aged.db");
    crate::agent::c1z::container::unpack(path, &aged, DecodeLimits::default())?;
    let database = Connection::open(&aged)?;
    database.execute(
        "UPDATE v1_sync_runs SET started_at = strftime('%Y-%m-%d %H:%M:%f', 'now', 'localtime', ?1)",
        [modifier],
    )?;
    drop(database);
    let aged = fs::read(&aged)?;
    crate::agent::c1z::container::Target::new(path)?.replace(aged.len() as u64, 1, |put| put(&aged))?;
    Ok(())
}

#[test]
fn an_unfinished_sync_is_resumed() -> Outcome {
    for name in UNFINISHED {
        let folder = tempfile::tempdir()?;
        let path = golden(name, folder.path())?;
        age(&path, "-6 days")?;
        let before = database(&path)?;
        let id = rows(&before, "SELECT sync_id FROM v1_sync_runs")?.remove(0);
        let started = rows(&before, "SELECT started_at FROM v1_sync_runs")?.remove(0);
        let stored = number(&before, "SELECT count(*) FROM v1_grants")?;
        assert!(stored > 700);

        let mut store = open(&path)?;
        let resumed = store.start(SyncKind::Full)?;
        assert!(resumed.resumed);
        assert_eq!(resumed.sync_id, id);
        assert!(resumed.token.contains("list-grants"));
        assert_eq!(store.resource_types()?.len(), 5);
        let grants = store.grants(None, 10_000)?.rows;
        assert_eq!(grants.len() as i64, stored);
        // Storing the connector's responses again changes nothing.
        store.put_grants(grants)?;
        assert_eq!(store.grants(None, 10_000)?.rows.len() as i64, stored);
        store.expand(&mut |_, _| ControlFlow::Continue(()))?;
        store.finish(TOKEN)?;
        store.close()?;

        let after = database(&path)?;
        assert_eq!(integrity(&after)?, ["ok"]);
        assert_eq!(rows(&after, "SELECT sync_id FROM v1_sync_runs")?, [id]);
        assert_eq!(rows(&after, "SELECT started_at FROM v1_sync_runs")?, [started]);
        assert_eq!(number(&after, "SELECT supports_diff FROM v1_sync_runs WHERE ended_at IS NOT NULL")?, 1);
        assert!(number(&after, "SELECT count(*) FROM v1_grants")? > stored);
    }
    Ok(())
}

#[test]
fn an_unfinished_sync_is_not_resumed_by_another_kind_or_after_a_week() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = golden(UNFINISHED[1], folder.path())?;
    age(&path, "-6 days")?;
    for kind in [SyncKind::Partial, SyncKind::ResourcesOnly] {
        let started = open(&path)?.start(kind)?;
        assert!(!started.resumed && started.token.is_empty());
    }
    age(&path, "-8 days")?;
    let mut store = open(&path)?;
    assert!(!store.start(SyncKind::Full)?.resumed);
    Organization::nested().put(&mut store)?;
    store.finish(TOKEN)?;
    store.close()?;
    // The unfinished sync stays in the file with all its rows.
    let after = database(&path)?;
    assert_eq!(number(&after, "SELECT count(*) FROM v1_sync_runs WHERE ended_at IS NULL")?, 1);
    assert!(number(&after, "SELECT count(*) FROM v1_grants")? > 700);
    assert_eq!(integrity(&after)?, ["ok"]);
    Ok(())
}

#[test]
fn opens_a_file_without_a_finished_sync_and_reports_it() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = golden(UNFINISHED[0], folder.path())?;
    let mut reader = read(&path)?;
    assert!(matches!(reader.run(), Err(Error::NoFinishedSync { .. })));
    let only = reader.runs()?.remove(0);
    assert_eq!(only.ended_at, None);
    reader.choose(&only.sync_id)?;
    assert_eq!(reader.resource_types()?.len(), 5);
    assert!(reader.choose("another").is_err());
    Ok(())
}

#[test]
fn a_file_of_the_newer_format_is_rejected_and_unchanged() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = golden("go-0.25-pebble.c1z", folder.path())?;
    let before = fs::read(&path)?;
    assert!(matches!(Store::open(&StoreOptions::new(&path)), Err(Error::FormatV3 { .. })));
    assert!(matches!(read(&path), Err(Error::FormatV3 { .. })));
    assert!(fs::read(&path)? == before);
    assert_eq!(fs::read_dir(folder.path())?.count(), 1);
    Ok(())
}
