//! Looks up annotations by name without decoding them: most are markers, and a sync checks some on every row.

use prost::{Message, Name};
use prost_types::Any;

use crate::proto;

/// Do not list entitlements or grants.
pub(crate) const SKIP_ENTITLEMENTS_AND_GRANTS: &str = "c1.connector.v2.SkipEntitlementsAndGrants";
/// Do not list entitlements.
pub(crate) const SKIP_ENTITLEMENTS: &str = "c1.connector.v2.SkipEntitlements";
/// Do not list grants.
pub(crate) const SKIP_GRANTS: &str = "c1.connector.v2.SkipGrants";
/// List entitlements for the whole type.
pub(crate) const TYPE_SCOPED_ENTITLEMENTS: &str = "c1.connector.v2.TypeScopedEntitlements";
/// List grants for the whole type.
pub(crate) const TYPE_SCOPED_GRANTS: &str = "c1.connector.v2.TypeScopedGrants";
/// Fetch more pages.
pub(crate) const ENQUEUE_PAGE_TOKENS: &str = "c1.connector.v2.EnqueuePageTokens";
/// Store the resources of the grants.
pub(crate) const INSERT_RESOURCE_GRANTS: &str = "c1.connector.v2.InsertResourceGrants";
/// Other grants derive from the grant.
pub(crate) const GRANT_EXPANDABLE: &str = "c1.connector.v2.GrantExpandable";
/// The entitlement belongs to an exclusion group.
pub(crate) const EXCLUSION_GROUP: &str = "c1.connector.v2.EntitlementExclusionGroup";
/// The resource belongs to the agent, not to the connector.
pub(crate) const BATON_ID: &str = "c1.connector.v2.BatonID";
/// The grant is for every principal of the external file with a trait.
pub(crate) const EXTERNAL_MATCH_ALL: &str = "c1.connector.v2.ExternalResourceMatchAll";
/// The grant is for one principal of the external file.
pub(crate) const EXTERNAL_MATCH_ID: &str = "c1.connector.v2.ExternalResourceMatchID";
/// The grant is for the principals of the external file whose profile has a value.
pub(crate) const EXTERNAL_MATCH: &str = "c1.connector.v2.ExternalResourceMatch";

/// Whether one of the annotations is of the type with this full name.
pub(crate) fn carries(annotations: &[Any], name: &str) -> bool {
    annotations.iter().any(|annotation| is(annotation, name))
}

/// Whether the annotation is of the type with this full name.
pub(crate) fn is(annotation: &Any, name: &str) -> bool {
    annotation.type_url.rsplit('/').next() == Some(name)
}

/// Whether the grant is for principals of the external file.
pub(crate) fn asks_for_external(annotations: &[Any]) -> bool {
    annotations.iter().any(|annotation| {
        is(annotation, EXTERNAL_MATCH_ALL)
            || is(annotation, EXTERNAL_MATCH_ID)
            || is(annotation, EXTERNAL_MATCH)
    })
}

/// Adds an annotation, or replaces the existing one of its type.
pub(crate) fn set<M: Name + Message>(annotations: &mut Vec<Any>, message: &M) {
    let packed = proto::any(message);
    let name = M::full_name();
    match annotations.iter_mut().find(|annotation| is(annotation, &name)) {
        Some(there) => *there = packed,
        None => annotations.push(packed),
    }
}
