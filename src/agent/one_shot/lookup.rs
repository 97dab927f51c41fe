//! Resolves ids, in a file that a sync has written or in the connector.

use std::path::Path;

use tonic::transport::Channel;

use crate::agent::c1z::Reader;
use crate::agent::one_shot::error::OneShotError;
use crate::proto::connector::entitlements_service_client::EntitlementsServiceClient;
use crate::proto::connector::resource_getter_service_client::ResourceGetterServiceClient;
use crate::proto::connector::{
    Entitlement, EntitlementsServiceListEntitlementsRequest, Grant, Resource,
    ResourceGetterServiceGetResourceRequest, ResourceId,
};

/// The source in which ids are resolved.
pub(crate) enum Lookup<'a> {
    /// The latest finished sync of a file.
    File(&'a Reader, &'a Path),
    /// The connector, whose ids have these forms.
    Connector(&'a Channel, IdForms),
}

/// Parses the ids of a connector. The protocol has no call to look up an id: it lists entitlements and grants
/// resource by resource.
#[derive(Clone, Copy)]
pub(crate) struct IdForms {
    /// Returns the resource of an entitlement.
    pub resource_of_entitlement: fn(&str) -> Option<ResourceId>,
    /// Returns the entitlement and the principal of a grant.
    pub parts_of_grant: fn(&str) -> Option<(String, ResourceId)>,
}

impl Lookup<'_> {
    /// Returns the entitlement with this id.
    pub(super) async fn entitlement(&self, id: &str) -> Result<Entitlement, OneShotError> {
        match self {
            Self::File(reader, path) => {
                reader.entitlement(id)?.ok_or_else(|| missing("entitlement", id, path))
            }
            Self::Connector(channel, forms) => {
                let unknown = || OneShotError::UnknownId { what: "entitlement", id: id.to_owned() };
                let on = (forms.resource_of_entitlement)(id).ok_or_else(unknown)?;
                let resource = resource(channel, on).await?;
                entitlement_of(channel, resource, id).await
            }
        }
    }

    /// Returns the resource with this id.
    pub(super) async fn resource(&self, id: ResourceId) -> Result<Resource, OneShotError> {
        match self {
            Self::File(reader, path) => {
                reader.resource(&id)?.ok_or_else(|| missing("resource", &written(&id), path))
            }
            Self::Connector(channel, _) => resource(channel, id).await,
        }
    }

    /// Returns the grant with this id. No call checks whether the grant exists: revoking a missing
    /// grant succeeds.
    pub(super) async fn grant(&self, id: &str) -> Result<Grant, OneShotError> {
        match self {
            Self::File(reader, path) => reader.grant(id)?.ok_or_else(|| missing("grant", id, path)),
            Self::Connector(_, forms) => {
                let unknown = || OneShotError::UnknownId { what: "grant", id: id.to_owned() };
                let (entitlement, principal) = (forms.parts_of_grant)(id).ok_or_else(unknown)?;
                Ok(Grant {
                    id: id.to_owned(),
                    entitlement: Some(self.entitlement(&entitlement).await?),
                    principal: Some(Resource { id: Some(principal), ..Default::default() }),
                    ..Default::default()
                })
            }
        }
    }
}

/// `type/id`
pub(super) fn written(id: &ResourceId) -> String {
    format!("{}/{}", id.resource_type, id.resource)
}

fn missing(what: &'static str, id: &str, file: &Path) -> OneShotError {
    OneShotError::NotInFile { what, id: id.to_owned(), file: file.to_owned() }
}

async fn resource(channel: &Channel, id: ResourceId) -> Result<Resource, OneShotError> {
    const METHOD: &str = "GetResource";
    let request = ResourceGetterServiceGetResourceRequest { resource_id: Some(id), ..Default::default() };
    let answer = ResourceGetterServiceClient::new(channel.clone()).get_resource(request).await;
    let answer = answer.map_err(OneShotError::call(METHOD))?.into_inner();
    answer.resource.ok_or(OneShotError::Incomplete { method: METHOD, what: "a resource" })
}

async fn entitlement_of(
    channel: &Channel,
    resource: Resource,
    id: &str,
) -> Result<Entitlement, OneShotError> {
    let mut client = EntitlementsServiceClient::new(channel.clone());
    let mut known = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = EntitlementsServiceListEntitlementsRequest {
            resource: Some(resource.clone()),
            page_token: page_token.clone(),
            ..Default::default()
        };
        let answer = client.list_entitlements(request).await;
        let answer = answer.map_err(OneShotError::call("ListEntitlements"))?.into_inner();
        for entitlement in answer.list {
            if entitlement.id == id {
                return Ok(entitlement);
            }
            known.push(entitlement.id);
        }
        // A token that repeats would lead to an endless loop.
        if answer.next_page_token.is_empty() || answer.next_page_token == page_token {
            break;
        }
        page_token = answer.next_page_token;
    }
    let of = resource.id.as_ref().map(written).unwrap_or_default();
    Err(OneShotError::NoEntitlement { resource: of, id: id.to_owned(), known: known.join(", ") })
}
