//! Users and groups of an external file, and the grants that a connector issues to them.

mod baton_id;
mod principals;

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::c1z::{DecodeLimits, EntitlementFilter, Error, GrantFilter, Reader, ResourceFilter, RowId};
use crate::agent::sync::annotation::{
    GRANT_EXPANDABLE, SKIP_ENTITLEMENTS_AND_GRANTS, SKIP_GRANTS, asks_for_external, carries, is, set,
};
use crate::agent::sync::options::External;
use crate::agent::sync::storage::{Storage, StorageError};
use crate::agent::sync::subject::safe_type;
use crate::agent::sync::types::type_of;
use crate::private_text::PrivateText;
use crate::proto::connector::resource_type::Trait;
use crate::proto::connector::{
    BatonId, Entitlement, EntitlementImmutable, ExternalResourceMatch, ExternalResourceMatchAll,
    ExternalResourceMatchId, Grant, GrantExpandable, GrantImmutable, Resource, ResourceType,
};
use crate::proto::{any, find_annotation};
use principals::Principals;

/// How many rows of the external file are read at a time.
const PAGE: usize = 10_000;

/// The rows that were copied.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) types: Vec<ResourceType>,
    pub(crate) resources: usize,
    pub(crate) entitlements: usize,
    /// Expandable grants were stored.
    pub(crate) expands: bool,
}

/// The external file does not have the entitlement of the setting, whose id can be about a person.
#[derive(Debug, thiserror::Error)]
#[error(
    "the external file has no entitlement {0}: list its entitlements with `baton-retool show entitlements -f FILE`"
)]
struct NoEntitlement(PrivateText);

/// Opens the external file.
pub(crate) fn open(external: &External) -> Result<Reader, Error> {
    let reader =
        Reader::open(&external.file, external.temp_dir.as_deref(), DecodeLimits::from_environment())?;
    reader.run()?;
    Ok(reader)
}

/// The types of the external file whose resources are copied.
pub(crate) fn matching_types(reader: &Reader) -> Result<BTreeSet<String>, Error> {
    let types = reader.resource_types()?;
    Ok(types.into_iter().filter(is_matched).map(|resource_type| resource_type.id).collect())
}

/// Copies all users and groups with their entitlements and grants, or only the holders of one entitlement.
/// Then replaces the grants that refer to principals of the external file by grants to these principals.
pub(crate) fn copy<S: Storage>(
    storage: &mut S,
    reader: &Reader,
    entitlement_id: Option<&str>,
    matches: bool,
) -> Result<Copied, StorageError> {
    let mut copied = Copied::default();
    let types = reader.resource_types()?;
    let (types, mut principals) = match entitlement_id {
        Some(id) => holders(reader, types, id)?,
        None => everyone(reader, types)?,
    };
    for principal in &mut principals {
        set(&mut principal.annotations, &BatonId {});
    }
    storage.put_resource_types(&types)?;
    storage.put_resources(&principals)?;
    let skipped = |principal: &Resource| {
        let of = types.iter().find(|one| one.id == type_of(principal));
        of.is_some_and(|of| carries(&of.annotations, SKIP_ENTITLEMENTS_AND_GRANTS))
            || carries(&principal.annotations, SKIP_ENTITLEMENTS_AND_GRANTS)
    };
    for principal in principals.iter().filter(|principal| !skipped(principal)) {
        copied.entitlements += copy_entitlements(storage, reader, principal)?;
    }
    copied.resources = principals.len();
    copied.types = types;
    if matches {
        copied.expands = give(storage, &Principals::new(principals))?;
    }
    Ok(copied)
}

/// Returns every user and group of the file.
fn everyone(
    reader: &Reader,
    types: Vec<ResourceType>,
) -> Result<(Vec<ResourceType>, Vec<Resource>), StorageError> {
    let types: Vec<ResourceType> = types.into_iter().filter(is_matched).collect();
    let mut principals = Vec::new();
    for resource_type in &types {
        let filter = ResourceFilter { resource_type: Some(resource_type.id.clone()), ..Default::default() };
        let mut after = None;
        loop {
            let page = reader.resources(&filter, after, PAGE)?;
            principals.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok((types, principals))
}

/// Returns the principals that hold one entitlement of the file.
fn holders(
    reader: &Reader,
    types: Vec<ResourceType>,
    entitlement_id: &str,
) -> Result<(Vec<ResourceType>, Vec<Resource>), StorageError> {
    if reader.entitlement(entitlement_id)?.is_none() {
        return Err(StorageError::new(NoEntitlement(entitlement_id.into())));
    }
    let mut held_by = BTreeMap::new();
    grants_of(reader, entitlement_id, |page| {
        for id in page.into_iter().filter_map(|grant| grant.principal?.id) {
            held_by.insert((id.resource_type.clone(), id.resource.clone()), id);
        }
        Ok(())
    })?;
    let holds = |resource_type: &ResourceType| held_by.keys().any(|(of, _)| *of == resource_type.id);
    let types = types.into_iter().filter(|one| is_matched(one) && holds(one)).collect();
    let mut principals = Vec::new();
    for id in held_by.values() {
        match reader.resource(id)? {
            Some(resource) => principals.push(resource),
            None => tracing::debug!(
                resource_type = safe_type(&id.resource_type),
                "the external file does not have a holder of the entitlement"
            ),
        }
    }
    Ok((types, principals))
}

/// Copies the entitlements of a principal and their grants, which are marked immutable.
fn copy_entitlements<S: Storage>(
    storage: &mut S,
    reader: &Reader,
    principal: &Resource,
) -> Result<usize, StorageError> {
    let filter = EntitlementFilter { resource: principal.id.clone(), ..Default::default() };
    let mut after: Option<RowId> = None;
    let mut count = 0;
    loop {
        let page = reader.entitlements(&filter, after, PAGE)?;
        let mut entitlements: Vec<Entitlement> = page.rows;
        for entitlement in &mut entitlements {
            set(&mut entitlement.annotations, &EntitlementImmutable::default());
        }
        count += entitlements.len();
        storage.put_entitlements(&entitlements)?;
        for entitlement in &entitlements {
            let resource = entitlement.resource.as_ref();
            if resource.is_some_and(|resource| carries(&resource.annotations, SKIP_GRANTS)) {
                continue;
            }
            grants_of(reader, &entitlement.id, |mut grants| {
                for grant in &mut grants {
                    // The external file already holds the derived grants.
                    grant.annotations.retain(|annotation| !is(annotation, GRANT_EXPANDABLE));
                    set(&mut grant.annotations, &GrantImmutable::default());
                }
                storage.put_grants(grants)
            })?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

fn grants_of(
    reader: &Reader,
    entitlement_id: &str,
    mut take: impl FnMut(Vec<Grant>) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let filter = GrantFilter { entitlement: Some(entitlement_id.to_owned()), ..Default::default() };
    let mut after = None;
    loop {
        let page = reader.grants(&filter, after, PAGE)?;
        if !page.rows.is_empty() {
            take(page.rows)?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Replaces each grant that refers to principals of the external file by one grant for each match; without a
/// match, the grant is removed. Returns whether the new grants are expandable.
fn give<S: Storage>(storage: &mut S, principals: &Principals) -> Result<bool, StorageError> {
    let mut cursor = String::new();
    let mut given: Vec<Grant> = Vec::new();
    let mut replaced: Vec<String> = Vec::new();
    loop {
        let page = storage.grants(&cursor)?;
        for grant in page.rows.into_iter().filter(|grant| asks_for_external(&grant.annotations)) {
            let new = matched(storage, principals, &grant)?;
            given.extend(new);
            replaced.push(grant.id);
        }
        if page.next.is_empty() {
            break;
        }
        cursor = page.next;
    }
    let kept: BTreeSet<&str> = given.iter().map(|grant| grant.id.as_str()).collect();
    replaced.retain(|id| !kept.contains(id.as_str()));
    let expands = given.iter().any(|grant| carries(&grant.annotations, GRANT_EXPANDABLE));
    storage.delete_grants(&replaced)?;
    storage.put_grants(given)?;
    Ok(expands)
}

/// The grants that replace one grant.
fn matched<S: Storage>(
    storage: &mut S,
    principals: &Principals,
    grant: &Grant,
) -> Result<Vec<Grant>, StorageError> {
    if let Some(all) = find_annotation::<ExternalResourceMatchAll>(&grant.annotations) {
        let all = all.map_err(StorageError::new)?;
        // A grant for all principals is not expandable.
        return Ok(principals.of_trait(all.resource_type()).map(|to| issued(grant, to)).collect());
    }
    let mut holders: Vec<(&Resource, bool)> = Vec::new();
    if let Some(one) = find_annotation::<ExternalResourceMatchId>(&grant.annotations) {
        let one = one.map_err(StorageError::new)?;
        holders.extend(principals.by_id(&one.id).map(|principal| (principal, true)));
    }
    if let Some(some) = find_annotation::<ExternalResourceMatch>(&grant.annotations) {
        let some = some.map_err(StorageError::new)?;
        let kind = some.resource_type();
        // Users are the leaves of an expansion; groups pass on the entitlements that they hold.
        let expands = kind != Trait::User;
        holders.extend(
            principals
                .matching(kind, &some.key, &some.value)
                .into_iter()
                .map(|principal| (principal, expands)),
        );
    }
    let mut grants = Vec::with_capacity(holders.len());
    for (principal, expands) in holders {
        let mut new = issued(grant, principal);
        if expands {
            expand_from(storage, grant, principal, &mut new)?;
        }
        grants.push(new);
    }
    Ok(grants)
}

/// Copies a grant to another principal, without its expansion.
fn issued(grant: &Grant, principal: &Resource) -> Grant {
    let id = principal.id.clone().unwrap_or_default();
    let entitlement_id = grant.entitlement.as_ref().map_or("", |entitlement| &entitlement.id);
    let mut annotations = grant.annotations.clone();
    annotations.retain(|annotation| !is(annotation, GRANT_EXPANDABLE));
    Grant {
        entitlement: grant.entitlement.clone(),
        principal: Some(principal.clone()),
        id: format!("{entitlement_id}:{}:{}", id.resource_type, id.resource),
        annotations,
        sources: grant.sources.clone(),
    }
}

/// Makes the new grant expand the entitlements of its principal that have the same slugs as the entitlements
/// of the old grant.
fn expand_from<S: Storage>(
    storage: &mut S,
    grant: &Grant,
    principal: &Resource,
    new: &mut Grant,
) -> Result<(), StorageError> {
    let Some(old) = find_annotation::<GrantExpandable>(&grant.annotations) else { return Ok(()) };
    let old = old.map_err(StorageError::new)?;
    let id = principal.id.clone().unwrap_or_default();
    let mut entitlement_ids = Vec::new();
    let named = grant.principal.as_ref().and_then(baton_id::parts).unwrap_or_default();
    for (resource, slug) in old.entitlement_ids.iter().filter_map(|id| baton_id::entitlement(id)) {
        if resource != named {
            continue;
        }
        let its = format!("{}:{}:{slug}", id.resource_type, id.resource);
        if storage.has_entitlement(&its)? {
            entitlement_ids.push(its);
        } else {
            tracing::warn!(
                resource_type = safe_type(&id.resource_type),
                "the external file does not have the entitlement to expand"
            );
        }
    }
    new.annotations.push(any(&GrantExpandable { entitlement_ids, ..old }));
    Ok(())
}

fn is_matched(resource_type: &ResourceType) -> bool {
    resource_type.traits().any(|kind| matches!(kind, Trait::User | Trait::Group))
}
