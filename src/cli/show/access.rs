//! The access of a user, and how the user has it.

use std::collections::BTreeMap;

use anyhow::bail;

use crate::agent::c1z::{GrantFilter, Reader, ResourceFilter};
use crate::cli::show::rows::{every, names};
use crate::cli::table::{PAGE, Table, cell, written};
use crate::proto::connector::{Grant, GrantImmutable, Resource, ResourceId, UserTrait};
use crate::proto::find_annotation;

/// How many users an error lists.
const SOME: usize = 5;

/// Each way in which the user has an entitlement, one per row.
pub(super) fn of(reader: &Reader, wanted: &str) -> anyhow::Result<Table> {
    let user = find(reader, wanted)?;
    let id = user.id.clone().unwrap_or_default();
    let names = names(reader)?;
    let filter = GrantFilter { principal: Some(id), ..Default::default() };
    let mut grants: Vec<Grant> = Vec::new();
    every(|after| reader.grants(&filter, after, PAGE), |grant| grants.push(grant))?;
    grants.sort_by(|one, other| entitlement_of(one).cmp(entitlement_of(other)));
    let mut holders: BTreeMap<String, Option<ResourceId>> = BTreeMap::new();
    let mut rows = Vec::new();
    for grant in &grants {
        let own = entitlement_of(grant);
        let on = grant.entitlement.as_ref().and_then(|on| on.resource.as_ref()).and_then(|on| on.id.as_ref());
        let name = on.and_then(|id| names.get(&(id.resource_type.clone(), id.resource.clone())));
        let mut row = |how: String, through: String| {
            rows.push(vec![cell(own), written(on), name.cloned().unwrap_or_default(), how, through]);
        };
        let sources = grant.sources.as_ref().map(|sources| &sources.sources);
        let direct = sources.is_none_or(|sources| sources.is_empty() || sources.contains_key(own));
        if direct {
            row("direct".to_owned(), String::new());
        }
        for source in sources.into_iter().flat_map(BTreeMap::keys).filter(|source| *source != own) {
            let holder = match holders.get(source) {
                Some(holder) => holder.clone(),
                None => {
                    let of = reader.entitlement(source)?;
                    let holder = of.and_then(|of| of.resource?.id);
                    holders.insert(source.clone(), holder.clone());
                    holder
                }
            };
            row(way(reader, own, holder.as_ref())?, cell(source));
        }
    }
    Ok(Table { columns: vec!["entitlement", "resource", "name", "how", "through"], rows })
}

/// Describes a way through a group: either a grant to the group itself, or a grant through every app of a
/// folder or through all apps. The latter cannot be revoked at the app and is marked.
fn way(reader: &Reader, entitlement: &str, holder: Option<&ResourceId>) -> anyhow::Result<String> {
    let Some(holder) = holder else { return Ok("another entitlement".to_owned()) };
    let filter = GrantFilter {
        entitlement: Some(entitlement.to_owned()),
        principal: Some(holder.clone()),
        ..Default::default()
    };
    let given = reader.grants(&filter, None, 1)?.rows.into_iter().next();
    let fixed = given.is_some_and(|given| find_annotation::<GrantImmutable>(&given.annotations).is_some());
    let of = cell(&holder.resource_type);
    Ok(if fixed { format!("{of}, by folder or universal access") } else { of })
}

fn entitlement_of(grant: &Grant) -> &str {
    grant.entitlement.as_ref().map_or("", |entitlement| &entitlement.id)
}

/// Finds the single user that matches.
fn find(reader: &Reader, wanted: &str) -> anyhow::Result<Resource> {
    let mut found = Vec::new();
    every(
        |after| reader.resources(&ResourceFilter::default(), after, PAGE),
        |resource| {
            if found.len() <= SOME && is_meant(&resource, wanted) {
                found.push(resource);
            }
        },
    )?;
    if found.len() > 1 {
        let ids: Vec<String> = found.iter().take(SOME).map(|user| written(user.id.as_ref())).collect();
        bail!("{wanted:?} matches several users: use the id of one of them, such as {}", ids.join(", "));
    }
    match found.pop() {
        Some(user) => Ok(user),
        None => {
            bail!("the file has no user {wanted:?}: list them with `baton-retool show resources --type user`")
        }
    }
}

fn is_meant(resource: &Resource, wanted: &str) -> bool {
    let Some(user) = find_annotation::<UserTrait>(&resource.annotations) else { return false };
    let id = resource.id.clone().unwrap_or_default();
    if id.resource == wanted || written(Some(&id)) == wanted || resource.display_name == wanted {
        return true;
    }
    let same = |text: &str| text.eq_ignore_ascii_case(wanted);
    user.is_ok_and(|user| same(&user.login) || user.emails.iter().any(|email| same(&email.address)))
}
