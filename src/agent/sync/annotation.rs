//! Annotations by their names, without decoding them: most are markers, and every row of a sync is asked for some.

use prost::{Message, Name};
use prost_types::Any;

use crate::proto;

/// Neither entitlements nor grants are to be listed.
pub(crate) const SKIP_ENTITLEMENTS_AND_GRANTS: &str = "c1.connector.v2.SkipEntitlementsAndGrants";
/// No entitlements are to be listed.
pub(crate) const SKIP_ENTITLEMENTS: &str = "c1.connector.v2.SkipEntitlements";
/// No grants are to be listed.
pub(crate) const SKIP_GRANTS: &str = "c1.connector.v2.SkipGrants";
/// Entitlements are to be listed for the whole type.
pub(crate) const TYPE_SCOPED_ENTITLEMENTS: &str = "c1.connector.v2.TypeScopedEntitlements";
/// Grants are to be listed for the whole type.
pub(crate) const TYPE_SCOPED_GRANTS: &str = "c1.connector.v2.TypeScopedGrants";
/// More pages are to be fetched.
pub(crate) const ENQUEUE_PAGE_TOKENS: &str = "c1.connector.v2.EnqueuePageTokens";
/// The resources of the grants are to be stored.
pub(crate) const INSERT_RESOURCE_GRANTS: &str = "c1.connector.v2.InsertResourceGrants";
/// Other grants follow from the grant.
pub(crate) const GRANT_EXPANDABLE: &str = "c1.connector.v2.GrantExpandable";
/// The entitlement excludes others.
pub(crate) const EXCLUSION_GROUP: &str = "c1.connector.v2.EntitlementExclusionGroup";
/// The resource belongs to the agent, not to the connector.
pub(crate) const BATON_ID: &str = "c1.connector.v2.BatonID";
/// The grant is meant for every principal of another file.
pub(crate) const EXTERNAL_MATCH_ALL: &str = "c1.connector.v2.ExternalResourceMatchAll";
/// The grant is meant for one principal of another file.
pub(crate) const EXTERNAL_MATCH_ID: &str = "c1.connector.v2.ExternalResourceMatchID";
/// The grant is meant for the principals of another file that have something in common.
pub(crate) const EXTERNAL_MATCH: &str = "c1.connector.v2.ExternalResourceMatch";

/// Whether one of the annotations is of the type with this full name.
pub(crate) fn carries(annotations: &[Any], name: &str) -> bool {
    annotations.iter().any(|annotation| is(annotation, name))
}

/// Whether the annotation is of the type with this full name.
pub(crate) fn is(annotation: &Any, name: &str) -> bool {
    annotation.type_url.rsplit('/').next() == Some(name)
}

/// Whether the grant is meant for principals of another file.
pub(crate) fn asks_for_external(annotations: &[Any]) -> bool {
    annotations.iter().any(|annotation| {
        is(annotation, EXTERNAL_MATCH_ALL)
            || is(annotation, EXTERNAL_MATCH_ID)
            || is(annotation, EXTERNAL_MATCH)
    })
}

/// Adds an annotation, in the place of the one of its type if there is one.
pub(crate) fn set<M: Name + Message>(annotations: &mut Vec<Any>, message: &M) {
    let packed = proto::any(message);
    let name = M::full_name();
    match annotations.iter_mut().find(|annotation| is(annotation, &name)) {
        Some(there) => *there = packed,
        None => annotations.push(packed),
    }
}
