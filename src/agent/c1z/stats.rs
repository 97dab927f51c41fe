//! The counts that a finished sync stores, so that readers need not count.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};
use serde_json::{Map, Value, json};

/// The number of grants of a sync for each type of resource that they are on.
pub(super) type GrantCounts = BTreeMap<String, u64>;

/// Counts the rows of a sync in `database`. Its grants were counted while they were written.
pub(super) fn stats(
    database: &Connection,
    sync_id: &str,
    kind: &str,
    grants: &BTreeMap<String, u64>,
) -> rusqlite::Result<String> {
    let types: Vec<String> = database
        .prepare("SELECT external_id FROM v1_resource_types WHERE sync_id = ?1")?
        .query_map([sync_id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let by_type = |table: &str| -> rusqlite::Result<BTreeMap<String, u64>> {
        database
            .prepare(&format!(
                "SELECT resource_type_id, count(*) FROM {table} WHERE sync_id = ?1 GROUP BY 1"
            ))?
            .query_map([sync_id], |row| Ok((row.get(0)?, count(row, 1)?)))?
            .collect()
    };
    let found = by_type("v1_resources")?;
    let resources = types.iter().map(|id| (id.clone(), found.get(id).copied().unwrap_or_default())).collect();
    let assets: u64 =
        database
            .query_row("SELECT count(*) FROM v1_assets WHERE sync_id = ?1", [sync_id], |row| count(row, 0))?;
    let (entitlements, grants) = match kind {
        "resources_only" => (BTreeMap::new(), &BTreeMap::new()),
        _ => (by_type("v1_entitlements")?, grants),
    };

    let mut out = Map::new();
    let mut put_count = |name: &str, number: u64| {
        if number > 0 {
            out.insert(name.to_owned(), json!(number));
        }
    };
    put_count("resource_types", types.len() as u64);
    put_count("resources", found.values().sum());
    put_count("entitlements", entitlements.values().sum());
    put_count("grants", grants.values().sum());
    put_count("assets", assets);
    let mut counts = |name: &str, numbers: &BTreeMap<String, u64>| {
        if !numbers.is_empty() {
            out.insert(name.to_owned(), json!(numbers));
        }
    };
    counts("resources_by_resource_type", &resources);
    counts("grants_by_resource_type", grants);
    counts("entitlements_by_resource_type", &entitlements);
    Ok(Value::Object(out).to_string())
}

/// Reads a count, which is never negative.
fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(|number: i64| number.unsigned_abs())
}
