//! The content of a file that the store wrote.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use prost::Message as _;

use crate::agent::c1z::tests::support::{
    Organization, Outcome, TOKEN, database, entitlement, grant, hands_on, integrity, number, open, resource,
    rows,
};
use crate::agent::c1z::{Error, Order, SyncKind};
use crate::private_text::reveal;
use crate::proto::connector::{Grant, Resource};

#[test]
fn a_finished_sync_is_marked_and_counted() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let saved = Organization::nested().sync(&path)?;
    assert_eq!(saved.bytes, std::fs::metadata(&path)?.len());
    let file = database(&path)?;
    assert_eq!(integrity(&file)?, ["ok"]);
    assert_eq!(number(&file, "SELECT count(*) FROM v1_grants")?, saved.grants as i64);
    let run = "SELECT concat_ws('|', sync_token, sync_type, parent_sync_id, linked_sync_id, supports_diff,
                   grants_backfilled, ingest_invariant_coverage, length(sync_id)) FROM v1_sync_runs";
    assert_eq!(rows(&file, run)?, [format!("{TOKEN}|full|||1|1||27")]);
    assert_eq!(
        rows(&file, "SELECT stats FROM v1_sync_runs")?,
        [concat!(
            r#"{"resource_types":3,"resources":11,"entitlements":5,"grants":17,"#,
            r#""resources_by_resource_type":{"group":3,"page":2,"user":6},"#,
            r#""grants_by_resource_type":{"group":7,"page":10},"#,
            r#""entitlements_by_resource_type":{"group":3,"page":2}}"#
        )]
    );
    let form = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*";
    for (table, column) in
        [("v1_sync_runs", "started_at"), ("v1_sync_runs", "ended_at"), ("v1_grants", "discovered_at")]
    {
        let odd = format!("SELECT count(*) FROM {table} WHERE {column} NOT GLOB '{form}'");
        assert_eq!(number(&file, &odd)?, 0);
    }
    for pragma in ["freelist_count", "user_version", "application_id", "auto_vacuum"] {
        assert_eq!(number(&file, &format!("PRAGMA {pragma}"))?, 0, "{pragma}");
    }
    assert_eq!(rows(&file, "PRAGMA journal_mode")?, ["delete"]);
    Ok(())
}

#[test]
fn derived_grants_name_their_sources() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    Organization::nested().sync(&path)?;
    let file = database(&path)?;
    let found: Vec<Grant> = file
        .prepare(
            "SELECT data FROM v1_grants WHERE external_id LIKE 'page:p1:use:user:%' ORDER BY external_id",
        )?
        .query_map([], |row| row.get::<_, Vec<u8>>(0))?
        .map(|data| Ok(Grant::decode(data?.as_slice())?))
        .collect::<Result<_, Box<dyn std::error::Error>>>()?;
    let stored: Vec<String> = found
        .iter()
        .map(|one| {
            let sources = one.sources.clone().unwrap_or_default().sources;
            let sources: Vec<String> =
                sources.iter().map(|(key, source)| format!("{key}={}", source.is_direct)).collect();
            format!("{} {} {}", one.id, one.annotations.len(), sources.join(","))
        })
        .collect();
    assert_eq!(
        stored,
        [
            "page:p1:use:user:u1 0 group:g1:member=true,page:p1:use=true",
            "page:p1:use:user:u2 1 group:g1:member=true",
            "page:p1:use:user:u3 1 group:g1:member=false",
            "page:p1:use:user:u4 1 group:g3:member=true",
        ]
    );
    let whole = found.get(3).and_then(|one| one.entitlement.clone());
    assert_eq!(whole, Some(entitlement(&resource("page", "p1"), "use")));
    Ok(())
}

#[test]
fn large_files_pass_the_integrity_check() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let mut made = Organization::wide(700, 9, 40);
    // Records that need overflow pages, in the table and in the indexes.
    for length in [900, 1000, 1024, 3000, 4000, 4061, 4062, 9000, 100_000] {
        let owner = Resource { description: "d".repeat(length), ..resource("page", "p1") };
        let kept = made.grants.len();
        made.grants.push(grant(
            entitlement(&owner, "use"),
            resource("user", &format!("u{}", kept)),
            Vec::new(),
        ));
        let mut odd = grant(
            entitlement(&resource("page", "p2"), "use"),
            resource("user", &"x".repeat(length)),
            Vec::new(),
        );
        odd.id = format!("{}{length}", "y".repeat(length));
        made.grants.push(odd);
    }
    let first = made.sync(&path)?;
    assert!(first.grants > 9000, "{first:?}");
    for _ in 0..2 {
        let file = database(&path)?;
        assert_eq!(integrity(&file)?, ["ok"]);
        let depth = number(
            &file,
            "SELECT count(*) FROM v1_grants INDEXED BY idx_grants_external_sync_v1 WHERE external_id >= ''",
        )?;
        assert_eq!(depth, number(&file, "SELECT count(*) FROM v1_grants NOT INDEXED")?);
        assert_eq!(
            number(&file, "SELECT count(*) FROM v1_grants WHERE expansion IS NOT NULL")?,
            number(&file, "SELECT count(*) FROM v1_grants NOT INDEXED WHERE needs_expansion = 1")?
        );
        // SQLite can modify the file like any other.
        file.execute_batch(
            "DELETE FROM v1_grants WHERE id % 3 = 0;
             UPDATE v1_grants SET external_id = external_id || ':more' WHERE id % 5 = 0;
             INSERT INTO v1_grants SELECT id + 1000000, resource_type_id, resource_id, entitlement_id,
                 principal_resource_type_id, principal_resource_id, external_id || '#' || id, expansion, needs_expansion,
                 data, sync_id, discovered_at FROM v1_grants;",
        )?;
        assert_eq!(integrity(&file)?, ["ok"]);
        made.sync(&path)?;
    }
    Ok(())
}

#[test]
fn sorts_ids_that_are_prefixes_of_each_other() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let mut made = Organization::new(30, 1, 1);
    let owner = resource("page", "p1");
    for slug in ["a", "a:user", "a:user:u1", "a:b", "b", "", ":"] {
        made.entitlements.push(entitlement(&owner, slug));
        for user in 1..=30 {
            made.grants.push(grant(
                entitlement(&owner, slug),
                resource("user", &format!("u{user}")),
                Vec::new(),
            ));
            let mut odd = grant(entitlement(&owner, slug), resource("user", &format!("u{user}")), Vec::new());
            odd.id = format!("page:p1:{slug}:user:u{user}!");
            made.grants.push(odd);
        }
    }
    made.sync(&path)?;
    made.sync(&path)?;
    let file = database(&path)?;
    assert_eq!(number(&file, "SELECT count(*) FROM v1_grants")?, 2 * 2 * 7 * 30);
    assert_eq!(integrity(&file)?, ["ok"]);
    Ok(())
}

#[test]
fn storing_a_row_again_replaces_it() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let mut made = Organization::nested();
    let mut store = open(&path)?;
    store.start(SyncKind::Full)?;
    made.put(&mut store)?;
    let changed = Resource {
        display_name: "Renamed".into(),
        parent_resource_id: resource("page", "p2").id,
        ..resource("page", "p1")
    };
    store.put_resources(std::slice::from_ref(&changed))?;
    // Without the annotation, the grant is not expandable.
    let plain =
        made.grants.iter_mut().find(|one| one.id == "group:g1:member:group:g2").ok_or("no such grant")?;
    plain.annotations.clear();
    store.put_grants(vec![plain.clone()])?;
    assert_eq!(store.resource(&changed.id.clone().unwrap_or_default())?, Some(changed));
    assert_eq!(store.resources(Order::Ascending, None, 100)?.rows.len(), made.resources.len());
    store.expand(&mut |_, _| ControlFlow::Continue(()))?;
    store.finish(TOKEN)?;
    store.close()?;
    let file = database(&path)?;
    assert_eq!(
        rows(&file, "SELECT parent_resource_id FROM v1_resources WHERE external_id = 'page:p1'")?,
        ["p2"]
    );
    let flags = "SELECT concat(expansion IS NULL, needs_expansion) FROM v1_grants
                 WHERE external_id = 'group:g1:member:group:g2'";
    assert_eq!(rows(&file, flags)?, ["10"]);
    assert_eq!(
        number(&file, "SELECT count(*) FROM v1_grants WHERE external_id = 'group:g1:member:user:u3'")?,
        0
    );
    Ok(())
}

#[test]
fn stores_both_holders_of_one_grant_id() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let mut store = open(&path)?;
    store.start(SyncKind::Full)?;
    let use_page = || entitlement(&resource("page", "p1"), "use");
    let shared =
        |user: &str| Grant { id: "same".into(), ..grant(use_page(), resource("user", user), Vec::new()) };
    for _ in 0..2 {
        store.put_grants(vec![shared("u1"), shared("u2")])?;
    }
    let ids: BTreeSet<String> = store.grants(None, 10)?.rows.into_iter().map(|one| one.id).collect();
    assert_eq!(ids, BTreeSet::from(["page:p1:use:user:u2".into(), "same".into()]));
    let taken =
        Grant { id: "page:p1:use:user:u3".into(), ..grant(use_page(), resource("user", "u9"), Vec::new()) };
    store.put_grants(vec![taken])?;
    let refused = store.put_grants(vec![shared("u4"), shared("u3")]);
    assert!(matches!(refused, Err(Error::GrantIds { .. })), "{refused:?}");
    // No grant of that page was stored.
    assert_eq!(store.grants(None, 10)?.rows.len(), 3);
    Ok(())
}

#[test]
fn listings_page_in_both_orders() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut store = open(&folder.path().join("sync.c1z"))?;
    assert!(matches!(store.put_resources(&[]), Err(Error::NotStarted)));
    store.start(SyncKind::Full)?;
    let made = Organization::nested();
    made.put(&mut store)?;
    for (order, mut expected) in
        [(Order::Ascending, made.resources.clone()), (Order::Descending, made.resources.clone())]
    {
        if order == Order::Descending {
            expected.reverse();
        }
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = store.resources(order, after, 4)?;
            found.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected);
    }
    assert_eq!(store.grants(None, 100)?.rows, made.grants);
    assert_eq!(store.entitlements(None, 100)?.rows, made.entitlements);
    assert!(store.has_entitlement("page:p1:use")? && !store.has_entitlement("page:p1:own")?);
    assert_eq!(
        store.entitlement("page:p1:use")?,
        made.entitlements.iter().find(|one| one.id == "page:p1:use").cloned()
    );
    assert_eq!(store.resource_type("page")?, made.types.last().cloned());
    assert_eq!(store.resource_type("none")?, None);
    store.remove_grants(&["page:p1:use:user:u1".into(), "none".into()])?;
    assert_eq!(store.grants(None, 100)?.rows.len(), made.grants.len() - 1);
    Ok(())
}

#[test]
fn rejects_expansion_of_an_entitlement_of_another_resource() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut store = open(&folder.path().join("sync.c1z"))?;
    store.start(SyncKind::Full)?;
    let mut made = Organization::nested();
    made.grant("p2", "g2", vec![hands_on(&["group:unknown:member"], false, &[])]);
    made.put(&mut store)?;
    assert_eq!(store.expand(&mut |_, _| ControlFlow::Break(()))?, None);
    let expanded = store.expand(&mut |_, _| ControlFlow::Continue(()))?.ok_or("not expanded")?;
    assert_eq!(expanded.unknown_entitlements, 1);
    made.grant("p2", "g3", vec![hands_on(&["group:g2:member"], false, &[])]);
    made.put(&mut store)?;
    let refused = store.expand(&mut |_, _| ControlFlow::Continue(())).map_err(|error| reveal(&error));
    assert!(
        refused.is_err_and(|text| text.contains("page:p2:use:group:g3") && text.contains("group:g2:member"))
    );
    Ok(())
}

#[test]
fn partial_and_resources_only_syncs_are_stored_with_their_kind_and_counts() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let made = Organization::nested();
    made.sync(&path)?;
    let full = rows(&database(&path)?, "SELECT sync_id FROM v1_sync_runs")?.remove(0);
    let mut store = open(&path)?;
    assert!(!store.start(SyncKind::Partial)?.resumed);
    store.put_resource_types(&made.types)?;
    store.finish("")?;
    store.close()?;
    let mut store = open(&path)?;
    store.start(SyncKind::ResourcesOnly)?;
    store.put_resource_types(&made.types)?;
    store.put_resources(&made.resources)?;
    store.finish("")?;
    store.close()?;
    let file = database(&path)?;
    let runs = "SELECT concat_ws('|', sync_type, parent_sync_id, supports_diff, stats) FROM v1_sync_runs
                ORDER BY id LIMIT 2 OFFSET 1";
    assert_eq!(
        rows(&file, runs)?,
        [
            format!(
                "partial|{full}|0|{}",
                r#"{"resource_types":3,"resources_by_resource_type":{"group":0,"page":0,"user":0}}"#
            ),
            concat!(
                r#"resources_only||0|{"resource_types":3,"resources":11,"#,
                r#""resources_by_resource_type":{"group":3,"page":2,"user":6}}"#
            )
            .to_owned(),
        ]
    );
    Ok(())
}
