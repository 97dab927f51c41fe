//! The tables and indexes of the database.

use prost::Message as _;
use rusqlite::{Connection, params};

use crate::agent::c1z::blob;

/// The table that is written page by page.
pub(super) const GRANTS: &str = "v1_grants";

/// The tables, declared as by every agent. The declared types matter to the drivers of other programs.
const TABLES: &[Table] = &[
    Table {
        name: "v1_resource_types",
        columns: &[
            ("external_id", "text not null"),
            ("data", "blob not null"),
            ("sync_id", "text not null"),
            ("discovered_at", "datetime not null"),
        ],
    },
    Table {
        name: "v1_resources",
        columns: &[
            ("resource_type_id", "text not null"),
            ("external_id", "text not null"),
            ("parent_resource_type_id", "text"),
            ("parent_resource_id", "text"),
            ("data", "blob not null"),
            ("sync_id", "text not null"),
            ("discovered_at", "datetime not null"),
        ],
    },
    Table {
        name: "v1_entitlements",
        columns: &[
            ("resource_type_id", "text not null"),
            ("resource_id", "text not null"),
            ("external_id", "text not null"),
            ("data", "blob not null"),
            ("sync_id", "text not null"),
            ("discovered_at", "datetime not null"),
        ],
    },
    Table {
        name: GRANTS,
        columns: &[
            ("resource_type_id", "text not null"),
            ("resource_id", "text not null"),
            ("entitlement_id", "text not null"),
            ("principal_resource_type_id", "text not null"),
            ("principal_resource_id", "text not null"),
            ("external_id", "text not null"),
            ("expansion", "blob"),
            ("needs_expansion", "integer not null default 0"),
            ("data", "blob not null"),
            ("sync_id", "text not null"),
            ("discovered_at", "datetime not null"),
        ],
    },
    Table {
        name: "v1_sync_runs",
        columns: &[
            ("sync_id", "text not null"),
            ("started_at", "datetime not null"),
            ("ended_at", "datetime"),
            ("sync_token", "text not null"),
            ("sync_type", "text not null default 'full'"),
            ("parent_sync_id", "text not null default ''"),
            ("linked_sync_id", "text not null default ''"),
            ("supports_diff", "integer not null default 0"),
            ("grants_backfilled", "integer not null default 0"),
            ("stats", "text"),
            ("ingest_invariant_generation", "text not null default ''"),
            ("ingest_invariant_coverage", "text not null default ''"),
            ("ingest_invariant_mode", "text not null default ''"),
        ],
    },
    Table {
        name: "v1_assets",
        columns: &[
            ("external_id", "text not null"),
            ("content_type", "text not null"),
            ("data", "blob not null"),
            ("sync_id", "text not null"),
            ("discovered_at", "datetime not null"),
        ],
    },
    Table {
        name: "v1_connector_sessions",
        columns: &[("sync_id", "text not null"), ("key", "text not null"), ("value", "blob not null")],
    },
];

/// The indexes. Two names on `v1_resources` are swapped relative to their columns in all existing files.
/// Agents create an index only if its name is missing, so with other names they would lack the unique index.
const INDEXES: &[Index] = &[
    Index::unique("idx_resource_types_external_sync_v1", "v1_resource_types", "external_id, sync_id"),
    Index::plain("idx_resources_resource_type_id_v1", "v1_resources", "resource_type_id"),
    Index::plain(
        "idx_resources_external_sync_v1",
        "v1_resources",
        "parent_resource_type_id, parent_resource_id",
    ),
    Index::unique("idx_resources_parent_resource_id_v1", "v1_resources", "external_id, sync_id"),
    Index::plain("idx_entitlements_resource_id_v1", "v1_entitlements", "resource_type_id, resource_id"),
    Index::unique("idx_entitlements_external_sync_v1", "v1_entitlements", "external_id, sync_id"),
    Index::unique("idx_sync_runs_sync_id_v1", "v1_sync_runs", "sync_id"),
    Index::plain("idx_grants_resource_type_id_resource_id_v1", "v1_grants", "resource_type_id, resource_id"),
    Index::plain(
        "idx_grants_principal_id_v1",
        "v1_grants",
        "principal_resource_type_id, principal_resource_id",
    ),
    Index::plain(
        "idx_grants_entitlement_id_principal_id_v1",
        "v1_grants",
        "entitlement_id, principal_resource_type_id, principal_resource_id",
    ),
    Index::unique("idx_grants_external_sync_v1", "v1_grants", "external_id, sync_id"),
    Index::plain("idx_grants_entitlement_sync_grant_v1", "v1_grants", "entitlement_id, sync_id, id"),
    Index {
        condition: " where expansion is not null",
        ..Index::plain("idx_grants_sync_expansion_v1", "v1_grants", "sync_id")
    },
    Index {
        condition: " where needs_expansion = 1",
        ..Index::plain("idx_grants_sync_needs_expansion_v1", "v1_grants", "sync_id")
    },
    Index::unique("idx_assets_external_sync_v1", "v1_assets", "external_id, sync_id"),
    Index::unique("idx_session_store_sync_key_v1", "v1_connector_sessions", "sync_id, key"),
];

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, &'static str)],
}

struct Index {
    name: &'static str,
    table: &'static str,
    columns: &'static str,
    unique: bool,
    condition: &'static str,
}

impl Index {
    const fn plain(name: &'static str, table: &'static str, columns: &'static str) -> Self {
        Self { name, table, columns, unique: false, condition: "" }
    }

    const fn unique(name: &'static str, table: &'static str, columns: &'static str) -> Self {
        Self { unique: true, ..Self::plain(name, table, columns) }
    }
}

/// The names of the tables with their columns other than `id`, in the order of declaration.
pub(super) fn tables() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    TABLES.iter().map(|table| (table.name, table.columns.iter().map(|(name, _)| *name).collect()))
}

/// Creates missing tables, and columns that older agents do not write.
pub(super) fn create_tables(database: &Connection) -> rusqlite::Result<()> {
    for table in TABLES {
        let columns: String =
            table.columns.iter().map(|(name, kind)| format!(",\n    {name} {kind}")).collect();
        database.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {} (\n    id integer primary key{columns}\n)",
            table.name
        ))?;
        let present: Vec<String> = database
            .prepare("SELECT name FROM pragma_table_info(?1)")?
            .query_map([table.name], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for (name, kind) in table.columns.iter().filter(|(name, _)| !present.iter().any(|one| one == name)) {
            database.execute_batch(&format!("ALTER TABLE {} ADD COLUMN {name} {kind}", table.name))?;
        }
    }
    Ok(())
}

/// Creates all missing indexes.
pub(super) fn create_indexes(database: &Connection) -> rusqlite::Result<()> {
    create_chosen(database, |_| true)
}

/// Creates the indexes that upserts need, without those that only readers need.
pub(super) fn create_unique_indexes(database: &Connection) -> rusqlite::Result<()> {
    create_chosen(database, |index| index.unique)
}

/// Creates the same indexes for all tables except the grants table.
pub(super) fn create_small_unique_indexes(database: &Connection) -> rusqlite::Result<()> {
    create_chosen(database, |index| index.unique && index.table != GRANTS)
}

fn create_chosen(database: &Connection, chosen: impl Fn(&Index) -> bool) -> rusqlite::Result<()> {
    for index in INDEXES.iter().filter(|index| chosen(index)) {
        database.execute_batch(&format!(
            "CREATE {}INDEX IF NOT EXISTS {} on {} ({}){}",
            if index.unique { "UNIQUE " } else { "" },
            index.name,
            index.table,
            index.columns,
            index.condition
        ))?;
    }
    Ok(())
}

/// Moves GrantExpandable out of the grants of syncs whose writer left it inside, as every agent does when it
/// opens a file.
pub(super) fn move_expansions(database: &Connection) -> rusqlite::Result<()> {
    let pending: Vec<String> = database
        .prepare("SELECT sync_id FROM v1_sync_runs WHERE grants_backfilled = 0")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for sync in pending {
        let mut rows = database
            .prepare("SELECT id, data FROM v1_grants WHERE sync_id = ?1 AND expansion IS NULL AND id > ?2 ORDER BY id LIMIT 1000")?;
        let mut update = database
            .prepare("UPDATE v1_grants SET data = ?2, expansion = ?3, needs_expansion = 1 WHERE id = ?1")?;
        let mut last = i64::MIN;
        loop {
            let page: Vec<(i64, Vec<u8>)> = rows
                .query_map(params![sync, last], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let Some((end, _)) = page.last() else { break };
            last = *end;
            for (row, data) in page {
                // A row that does not decode stays unchanged; listings report it.
                let Ok(mut grant) = crate::proto::connector::Grant::decode(data.as_slice()) else { continue };
                if let Some(expansion) = blob::take_expansion(&mut grant.annotations) {
                    update.execute(params![row, blob::grant(&grant), expansion])?;
                }
            }
        }
        database.execute("UPDATE v1_sync_runs SET grants_backfilled = 1 WHERE sync_id = ?1", [sync])?;
    }
    Ok(())
}
