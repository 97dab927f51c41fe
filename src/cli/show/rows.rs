//! The rows of the listings.

use std::collections::HashMap;

use crate::agent::c1z::{EntitlementFilter, GrantFilter, Page, Reader, ResourceFilter, RowId};
use crate::cli::table::{PAGE, Table, cell, written};
use crate::proto::connector::{Grant, GrantExpandable, GrantImmutable, ResourceId};
use crate::proto::find_annotation;

pub(super) fn resources(
    reader: &Reader,
    resource_type: Option<String>,
    parent: Option<ResourceId>,
) -> anyhow::Result<Table> {
    let filter = ResourceFilter { resource_type, parent };
    let mut rows = Vec::new();
    every(
        |after| reader.resources(&filter, after, PAGE),
        |resource| {
            rows.push(vec![
                written(resource.id.as_ref()),
                written(resource.parent_resource_id.as_ref()),
                cell(&resource.display_name),
            ]);
        },
    )?;
    Ok(Table { columns: vec!["resource", "parent", "name"], rows })
}

pub(super) fn entitlements(
    reader: &Reader,
    resource_type: Option<String>,
    resource: Option<ResourceId>,
) -> anyhow::Result<Table> {
    let filter = EntitlementFilter { resource_type, resource };
    let mut rows = Vec::new();
    every(
        |after| reader.entitlements(&filter, after, PAGE),
        |entitlement| {
            let on = entitlement.resource.as_ref();
            rows.push(vec![
                cell(&entitlement.id),
                written(on.and_then(|on| on.id.as_ref())),
                cell(&entitlement.slug),
                cell(&entitlement.display_name),
            ]);
        },
    )?;
    Ok(Table { columns: vec!["entitlement", "resource", "slug", "name"], rows })
}

pub(super) fn grants(
    reader: &Reader,
    resource_type: Option<String>,
    resource: Option<ResourceId>,
    principal: Option<ResourceId>,
) -> anyhow::Result<Table> {
    let filter = GrantFilter { resource_type, resource, principal, ..Default::default() };
    let names = names(reader)?;
    let mut rows = Vec::new();
    every(
        |after| reader.grants(&filter, after, PAGE),
        |grant| {
            let entitlement = grant.entitlement.as_ref();
            let principal = grant.principal.as_ref().and_then(|principal| principal.id.as_ref());
            let name = principal.and_then(|id| names.get(&(id.resource_type.clone(), id.resource.clone())));
            rows.push(vec![
                entitlement.map(|entitlement| cell(&entitlement.id)).unwrap_or_default(),
                written(principal),
                name.cloned().unwrap_or_default(),
                how(&grant).to_owned(),
            ]);
        },
    )?;
    Ok(Table { columns: vec!["entitlement", "principal", "name", "how"], rows })
}

/// How a grant was obtained, in one or two words.
fn how(grant: &Grant) -> &'static str {
    let own = grant.entitlement.as_ref().map_or("", |entitlement| &entitlement.id);
    let sources = grant.sources.as_ref().map(|sources| &sources.sources);
    let derived = sources.is_some_and(|sources| !sources.is_empty() && !sources.contains_key(own));
    let both = sources.is_some_and(|sources| sources.len() > 1 && sources.contains_key(own));
    let expands = find_annotation::<GrantExpandable>(&grant.annotations).is_some();
    let fixed = find_annotation::<GrantImmutable>(&grant.annotations).is_some();
    match (derived, both, expands, fixed) {
        (true, ..) => "derived",
        (_, true, ..) => "direct and derived",
        (_, _, true, true) => "direct, expands, immutable",
        (_, _, true, false) => "direct, expands",
        (_, _, false, true) => "direct, immutable",
        _ => "direct",
    }
}

/// The names of all resources.
pub(super) fn names(reader: &Reader) -> anyhow::Result<HashMap<(String, String), String>> {
    let mut names = HashMap::new();
    let filter = ResourceFilter::default();
    every(
        |after| reader.resources(&filter, after, PAGE),
        |resource| {
            if let Some(id) = resource.id {
                names.insert((id.resource_type, id.resource), cell(&resource.display_name));
            }
        },
    )?;
    Ok(names)
}

/// Reads all pages.
pub(super) fn every<T>(
    page: impl Fn(Option<RowId>) -> Result<Page<T>, crate::agent::c1z::Error>,
    mut take: impl FnMut(T),
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let found = page(after)?;
        found.rows.into_iter().for_each(&mut take);
        after = found.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
