//! Stores the rows of a connector, page by page. Each page is one transaction, and a row that already exists
//! is replaced.

use prost::Message as _;
use rusqlite::{CachedStatement, Connection, params};

use crate::agent::c1z::grant_ids::GrantIds;
use crate::agent::c1z::{Error, blob, clock};
use crate::proto::connector::{Entitlement, Grant, GrantExpandable, Resource, ResourceId, ResourceType};

/// The reason why a page was not stored.
pub(super) enum Refusal {
    Database(rusqlite::Error),
    Other(Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

pub(super) fn put_resource_types(
    database: &Connection,
    sync_id: &str,
    page: &[ResourceType],
) -> rusqlite::Result<()> {
    let transaction = database.unchecked_transaction()?;
    let now = clock::now(database)?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO main.v1_resource_types (external_id, data, sync_id, discovered_at)
         VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (external_id, sync_id) DO UPDATE SET data = excluded.data",
    )?;
    for one in page {
        insert.execute(params![one.id, blob::resource_type(one), sync_id, now])?;
    }
    drop(insert);
    transaction.commit()
}

pub(super) fn put_resources(database: &Connection, sync_id: &str, page: &[Resource]) -> rusqlite::Result<()> {
    let transaction = database.unchecked_transaction()?;
    let now = clock::now(database)?;
    // The parent's columns follow the data, because listings filter by column and return the data.
    let mut insert = transaction.prepare_cached(
        "INSERT INTO main.v1_resources
             (resource_type_id, external_id, parent_resource_type_id, parent_resource_id, data, sync_id,
              discovered_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (external_id, sync_id) DO UPDATE SET
             data = excluded.data, resource_type_id = excluded.resource_type_id,
             parent_resource_type_id = excluded.parent_resource_type_id,
             parent_resource_id = excluded.parent_resource_id",
    )?;
    for one in page {
        let id = one.id.clone().unwrap_or_default();
        let parent = one.parent_resource_id.as_ref();
        insert.execute(params![
            id.resource_type,
            external_id(&id),
            parent.map(|parent| &parent.resource_type),
            parent.map(|parent| &parent.resource),
            blob::resource(one),
            sync_id,
            now
        ])?;
    }
    drop(insert);
    transaction.commit()
}

pub(super) fn put_entitlements(
    database: &Connection,
    sync_id: &str,
    page: &[Entitlement],
) -> rusqlite::Result<()> {
    let transaction = database.unchecked_transaction()?;
    let now = clock::now(database)?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO main.v1_entitlements
             (resource_type_id, resource_id, external_id, data, sync_id, discovered_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (external_id, sync_id) DO UPDATE SET
             data = excluded.data, resource_type_id = excluded.resource_type_id,
             resource_id = excluded.resource_id",
    )?;
    for one in page {
        let owner = one.resource.as_ref().and_then(|owner| owner.id.clone()).unwrap_or_default();
        insert.execute(params![
            owner.resource_type,
            owner.resource,
            one.id,
            blob::entitlement(one),
            sync_id,
            now
        ])?;
    }
    drop(insert);
    transaction.commit()
}

pub(super) fn put_grants(
    database: &Connection,
    ids: &mut GrantIds,
    sync_id: &str,
    page: Vec<Grant>,
) -> Result<(), Refusal> {
    let all_new = ids.are_new(database, &page)?;
    let transaction = database.unchecked_transaction()?;
    let now = clock::now(database)?;
    let mut put = PutGrant { insert: transaction.prepare_cached(insert(all_new))?, sync_id, now: &now };
    for mut one in page {
        let expansion = blob::take_expansion(&mut one.annotations);
        if put.put(&one, expansion.as_deref())? {
            continue;
        }
        // Another holder's grant has this id. Both grants exist, so the later one gets a standard id, which
        // identifies entitlement and principal.
        let taken = std::mem::take(&mut one.id);
        one.id = standard_id(&one);
        if one.id == taken || !put.put(&one, expansion.as_deref())? {
            return Err(Refusal::Other(Error::GrantIds { id: taken }));
        }
    }
    drop(put);
    transaction.commit()?;
    Ok(())
}

/// Removes grants by their ids.
pub(super) fn remove_grants(
    database: &Connection,
    ids: &mut GrantIds,
    removed: &[String],
) -> rusqlite::Result<()> {
    ids.index(database)?;
    let transaction = database.unchecked_transaction()?;
    let mut delete = transaction.prepare_cached("DELETE FROM main.v1_grants WHERE external_id = ?1")?;
    for id in removed {
        delete.execute([id])?;
    }
    drop(delete);
    transaction.commit()
}

/// The statement that stores grants: with new ids only, or with any ids.
fn insert(all_new: bool) -> &'static str {
    if all_new {
        "INSERT INTO main.v1_grants
             (resource_type_id, resource_id, entitlement_id, principal_resource_type_id, principal_resource_id,
              external_id, expansion, needs_expansion, data, sync_id, discovered_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    } else {
        "INSERT INTO main.v1_grants
             (resource_type_id, resource_id, entitlement_id, principal_resource_type_id, principal_resource_id,
              external_id, expansion, needs_expansion, data, sync_id, discovered_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (external_id, sync_id) DO UPDATE SET
             data = excluded.data, expansion = excluded.expansion,
             needs_expansion = excluded.needs_expansion, resource_type_id = excluded.resource_type_id,
             resource_id = excluded.resource_id
         WHERE entitlement_id = excluded.entitlement_id
             AND principal_resource_type_id = excluded.principal_resource_type_id
             AND principal_resource_id = excluded.principal_resource_id"
    }
}

struct PutGrant<'a> {
    insert: CachedStatement<'a>,
    sync_id: &'a str,
    now: &'a str,
}

impl PutGrant<'_> {
    /// Stores one grant. Returns false if a grant of another entitlement or principal has its id.
    fn put(&mut self, grant: &Grant, expansion: Option<&[u8]>) -> rusqlite::Result<bool> {
        let entitlement = grant.entitlement.as_ref();
        let owner = entitlement.and_then(|one| one.resource.as_ref()).and_then(|owner| owner.id.as_ref());
        let principal = grant.principal.as_ref().and_then(|principal| principal.id.as_ref());
        let (owner_type, owner_id) = pair(owner);
        let (principal_type, principal_id) = pair(principal);
        let changed = self.insert.execute(params![
            owner_type,
            owner_id,
            entitlement.map_or("", |one| &one.id),
            principal_type,
            principal_id,
            grant.id,
            expansion,
            expansion.is_some(),
            blob::grant(grant),
            self.sync_id,
            self.now
        ])?;
        Ok(changed == 1)
    }
}

/// Restores a grant as the connector sent it from its row.
pub(super) fn whole_grant(data: &[u8], expansion: Option<&[u8]>) -> Result<Grant, prost::DecodeError> {
    let mut grant = Grant::decode(data)?;
    if let Some(expansion) = expansion {
        grant.annotations.push(crate::proto::any(&GrantExpandable::decode(expansion)?));
    }
    Ok(grant)
}

/// The id of a resource's row.
pub(super) fn external_id(id: &ResourceId) -> String {
    format!("{}:{}", id.resource_type, id.resource)
}

/// The id that identifies the entitlement and the principal.
fn standard_id(grant: &Grant) -> String {
    let entitlement = grant.entitlement.as_ref().map_or("", |one| &one.id);
    let (kind, id) = pair(grant.principal.as_ref().and_then(|principal| principal.id.as_ref()));
    format!("{entitlement}:{kind}:{id}")
}

fn pair(id: Option<&ResourceId>) -> (&str, &str) {
    id.map_or(("", ""), |id| (&id.resource_type, &id.resource))
}
