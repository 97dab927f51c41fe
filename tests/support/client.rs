//! The protocol for the access tests: complete listings, and grants as plain facts.

use std::collections::BTreeSet;
use std::sync::Arc;

use baton_retool::proto::connector::entitlements_service_client::EntitlementsServiceClient;
use baton_retool::proto::connector::grants_service_client::GrantsServiceClient;
use baton_retool::proto::connector::resource_getter_service_client::ResourceGetterServiceClient;
use baton_retool::proto::connector::resource_types_service_client::ResourceTypesServiceClient;
use baton_retool::proto::connector::resources_service_client::ResourcesServiceClient;
use baton_retool::proto::connector::{
    ChildResourceType, Entitlement, EntitlementsServiceListEntitlementsRequest, Grant, GrantExpandable,
    GrantImmutable, GrantsServiceListGrantsRequest, Resource, ResourceGetterServiceGetResourceRequest,
    ResourceId, ResourceType, ResourceTypesServiceListResourceTypesRequest,
    ResourcesServiceListResourcesRequest,
};
use baton_retool::proto::unpack;
use prost::{Message, Name};
use prost_types::Any;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::postgres::Database;
use super::server::Server;

/// A client of one server. If the client has started the server, it stops with the last copy of the client.
#[derive(Clone)]
pub(crate) struct Client {
    /// Stopped with the last copy.
    #[expect(dead_code)]
    server: Option<Arc<Server>>,
    /// The sync of the listings; empty for none.
    sync: String,
    types: ResourceTypesServiceClient<Channel>,
    resources: ResourcesServiceClient<Channel>,
    getter: ResourceGetterServiceClient<Channel>,
    entitlements: EntitlementsServiceClient<Channel>,
    grants: GrantsServiceClient<Channel>,
}

/// One answer of a listing.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) rows: Vec<T>,
    /// The token of the next page; empty on the last page.
    pub(crate) next: String,
    /// Its length on the wire.
    pub(crate) bytes: usize,
}

/// A listing with pages.
#[derive(Debug, Clone)]
pub(crate) enum Listing {
    ResourceTypes,
    /// Resources of a type, below an organization or at the root.
    Resources(&'static str, Option<&'static str>),
    Entitlements(Resource),
    Grants(Resource),
}

/// A grant without the parts that are the same in every grant of the listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fact {
    pub(crate) id: String,
    pub(crate) entitlement: String,
    /// Type and id: `user/u1`.
    pub(crate) principal: String,
    /// The entitlements whose holders also get this one.
    pub(crate) expands: Vec<String>,
    pub(crate) immutable: bool,
}

/// Everything that a full sync reads.
pub(crate) struct Everything {
    pub(crate) resources: Vec<Resource>,
    pub(crate) entitlements: Vec<Entitlement>,
    pub(crate) grants: Vec<Grant>,
}

pub(crate) const TYPES: [&str; 5] = ["org", "user", "group", "page", "resource"];

// === impl Client ===

impl Client {
    /// Starts a new server for the database.
    pub(crate) async fn serving(database: &Database, flags: &[&str]) -> Self {
        Self::serving_at(&database.url(), flags).await
    }

    /// Starts a new server for the connection string.
    pub(crate) async fn serving_at(connection_string: &str, flags: &[&str]) -> Self {
        // At the level debug, each call would write a line that no test of these clients reads.
        let server = Server::start_quietly(connection_string, flags);
        let client = Self::of(&server).await;
        Self { server: Some(Arc::new(server)), ..client }
    }

    /// Connects to a server that the test owns.
    pub(crate) async fn of(server: &Server) -> Self {
        Self::over(server.channel().await)
    }

    /// Uses a connection that the test has opened.
    pub(crate) fn over(channel: Channel) -> Self {
        Self {
            server: None,
            sync: String::new(),
            types: ResourceTypesServiceClient::new(channel.clone()),
            resources: ResourcesServiceClient::new(channel.clone()),
            getter: ResourceGetterServiceClient::new(channel.clone()),
            entitlements: EntitlementsServiceClient::new(channel.clone()),
            grants: GrantsServiceClient::new(channel),
        }
    }

    /// The same client, with listings in this sync.
    pub(crate) fn in_sync(&self, sync: &str) -> Self {
        Self { sync: sync.to_owned(), ..self.clone() }
    }

    /// All resource types.
    pub(crate) async fn resource_types(&self) -> Vec<ResourceType> {
        all(async |token| self.resource_types_page(0, token).await).await
    }

    /// All resources of a type below an organization, or at the root.
    pub(crate) async fn resources(&self, type_id: &str, parent: Option<&str>) -> Vec<Resource> {
        all(async |token| self.resources_page(type_id, parent, 0, token).await).await
    }

    /// The ids of all resources of a type below an organization, or at the root.
    pub(crate) async fn listed(&self, type_id: &str, parent: Option<&str>) -> Vec<String> {
        self.resources(type_id, parent).await.iter().map(|resource| id_of(resource).to_owned()).collect()
    }

    /// All entitlements on a resource.
    pub(crate) async fn entitlements(&self, on: &Resource) -> Vec<Entitlement> {
        all(async |token| self.entitlements_page(on, 0, token).await).await
    }

    /// All grants on a resource.
    pub(crate) async fn grants(&self, on: &Resource) -> Vec<Grant> {
        all(async |token| self.grants_page(on, 0, token).await).await
    }

    /// The ids of all grants on a resource given by its id, in the order of the listing.
    pub(crate) async fn grant_ids(&self, type_id: &str, id: &str) -> Vec<String> {
        self.grants(&named(type_id, id)).await.into_iter().map(|grant| grant.id).collect()
    }

    /// All grants on a resource given by its id, sorted by grant id.
    pub(crate) async fn facts(&self, type_id: &str, id: &str) -> Vec<Fact> {
        facts(&self.grants(&named(type_id, id)).await)
    }

    /// The resource with this id.
    pub(crate) async fn get(&self, type_id: &str, id: &str) -> Result<Resource, Status> {
        let request = ResourceGetterServiceGetResourceRequest {
            resource_id: named(type_id, id).id,
            ..Default::default()
        };
        Ok(self.getter.clone().get_resource(request).await?.into_inner().resource.unwrap())
    }

    /// Walks the tree of resources, then the entitlements and grants of each.
    pub(crate) async fn everything(&self) -> Everything {
        let mut to_list: Vec<(String, Option<String>)> =
            self.resource_types().await.into_iter().map(|resource_type| (resource_type.id, None)).collect();
        let mut found = Everything { resources: Vec::new(), entitlements: Vec::new(), grants: Vec::new() };
        while let Some((type_id, parent)) = to_list.pop() {
            for resource in self.resources(&type_id, parent.as_deref()).await {
                for child in annotations::<ChildResourceType>(&resource.annotations) {
                    to_list.push((child.resource_type_id, Some(id_of(&resource).to_owned())));
                }
                found.resources.push(resource);
            }
        }
        for resource in &found.resources {
            found.entitlements.extend(self.entitlements(resource).await);
            found.grants.extend(self.grants(resource).await);
        }
        found
    }

    /// One page of a listing, with the ids of its rows.
    pub(crate) async fn page(
        &self,
        listing: &Listing,
        size: u32,
        token: String,
    ) -> Result<Answer<String>, Status> {
        Ok(match listing {
            Listing::ResourceTypes => self.resource_types_page(size, token).await?.map(|row| row.id),
            Listing::Resources(type_id, parent) => {
                self.resources_page(type_id, *parent, size, token).await?.map(|row| path_of(&row))
            }
            Listing::Entitlements(on) => self.entitlements_page(on, size, token).await?.map(|row| row.id),
            Listing::Grants(on) => self.grants_page(on, size, token).await?.map(|row| row.id),
        })
    }

    /// All pages of a listing, each with the ids of its rows.
    pub(crate) async fn pages(&self, listing: &Listing, size: u32) -> Vec<Answer<String>> {
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let page = self.page(listing, size, token.clone()).await.unwrap();
            assert!(page.next.is_empty() || page.next != token, "{listing:?}: the page token repeats");
            token.clone_from(&page.next);
            pages.push(page);
            if token.is_empty() {
                return pages;
            }
        }
    }

    /// Every listing that a full sync makes.
    pub(crate) async fn listings(&self) -> Vec<Listing> {
        let mut listings = vec![Listing::ResourceTypes];
        for type_id in TYPES {
            listings.extend([None, Some("o1"), Some("o2")].map(|parent| Listing::Resources(type_id, parent)));
        }
        for resource in self.everything().await.resources {
            listings.extend([Listing::Entitlements(resource.clone()), Listing::Grants(resource)]);
        }
        listings
    }

    async fn resource_types_page(
        &self,
        page_size: u32,
        page_token: String,
    ) -> Result<Answer<ResourceType>, Status> {
        let request = ResourceTypesServiceListResourceTypesRequest {
            page_size,
            page_token,
            active_sync_id: self.sync.clone(),
            ..Default::default()
        };
        answer(self.types.clone().list_resource_types(request).await?, |it| (it.list, it.next_page_token))
    }

    /// One page of resources.
    pub(crate) async fn resources_page(
        &self,
        type_id: &str,
        parent: Option<&str>,
        page_size: u32,
        page_token: String,
    ) -> Result<Answer<Resource>, Status> {
        let request = ResourcesServiceListResourcesRequest {
            resource_type_id: type_id.to_owned(),
            parent_resource_id: parent.and_then(|parent| named("org", parent).id),
            page_size,
            page_token,
            active_sync_id: self.sync.clone(),
            ..Default::default()
        };
        answer(self.resources.clone().list_resources(request).await?, |it| (it.list, it.next_page_token))
    }

    async fn entitlements_page(
        &self,
        on: &Resource,
        page_size: u32,
        page_token: String,
    ) -> Result<Answer<Entitlement>, Status> {
        let request = EntitlementsServiceListEntitlementsRequest {
            resource: Some(on.clone()),
            page_size,
            page_token,
            active_sync_id: self.sync.clone(),
            ..Default::default()
        };
        answer(self.entitlements.clone().list_entitlements(request).await?, |it| {
            (it.list, it.next_page_token)
        })
    }

    async fn grants_page(
        &self,
        on: &Resource,
        page_size: u32,
        page_token: String,
    ) -> Result<Answer<Grant>, Status> {
        let request = GrantsServiceListGrantsRequest {
            resource: Some(on.clone()),
            page_size,
            page_token,
            active_sync_id: self.sync.clone(),
            ..Default::default()
        };
        answer(self.grants.clone().list_grants(request).await?, |it| {
            (it.list.into_grants().unwrap(), it.next_page_token)
        })
    }
}

// === impl Answer ===

impl<T> Answer<T> {
    fn map<U>(self, make: impl FnMut(T) -> U) -> Answer<U> {
        Answer { rows: self.rows.into_iter().map(make).collect(), next: self.next, bytes: self.bytes }
    }
}

fn answer<M: Message, T>(
    response: Response<M>,
    parts: impl FnOnce(M) -> (Vec<T>, String),
) -> Result<Answer<T>, Status> {
    let message = response.into_inner();
    let bytes = message.encoded_len();
    let (rows, next) = parts(message);
    Ok(Answer { rows, next, bytes })
}

/// The rows of all pages.
async fn all<T>(page: impl AsyncFn(String) -> Result<Answer<T>, Status>) -> Vec<T> {
    let mut rows = Vec::new();
    let mut token = String::new();
    loop {
        let answer = page(token.clone()).await.unwrap();
        rows.extend(answer.rows);
        assert!(answer.next.is_empty() || answer.next != token, "the page token repeats");
        token = answer.next;
        if token.is_empty() {
            return rows;
        }
    }
}

// === contents of messages ===

/// A resource with only an id.
pub(crate) fn named(type_id: &str, id: &str) -> Resource {
    let id = ResourceId { resource_type: type_id.to_owned(), resource: id.to_owned(), ..Default::default() };
    Resource { id: Some(id), ..Default::default() }
}

/// The id without the type: `u1`.
pub(crate) fn id_of(resource: &Resource) -> &str {
    &resource.id.as_ref().unwrap().resource
}

/// Type and id: `user/u1`.
pub(crate) fn path_of(resource: &Resource) -> String {
    path(resource.id.as_ref().unwrap())
}

/// Type and id of the parent; empty if there is none.
pub(crate) fn parent_of(resource: &Resource) -> String {
    resource.parent_resource_id.as_ref().map(path).unwrap_or_default()
}

fn path(id: &ResourceId) -> String {
    format!("{}/{}", id.resource_type, id.resource)
}

/// Every annotation of one type.
pub(crate) fn annotations<M: Name + Default>(annotations: &[Any]) -> Vec<M> {
    annotations.iter().filter_map(unpack).map(Result::unwrap).collect()
}

/// The grants as facts, sorted by grant id. Duplicates are kept.
pub(crate) fn facts(grants: &[Grant]) -> Vec<Fact> {
    let mut facts: Vec<Fact> = grants.iter().map(fact).collect();
    facts.sort();
    facts
}

fn fact(grant: &Grant) -> Fact {
    let expandable = annotations::<GrantExpandable>(&grant.annotations);
    let immutable = annotations::<GrantImmutable>(&grant.annotations);
    assert_eq!(expandable.len() + immutable.len(), grant.annotations.len(), "another annotation: {grant:?}");
    assert!(expandable.iter().all(|one| !one.shallow && one.resource_type_ids.is_empty()), "{grant:?}");
    assert!(grant.sources.is_none(), "{grant:?}");
    Fact {
        id: grant.id.clone(),
        entitlement: grant.entitlement.as_ref().unwrap().id.clone(),
        principal: path_of(grant.principal.as_ref().unwrap()),
        expands: expandable.into_iter().flat_map(|one| one.entitlement_ids).collect(),
        immutable: !immutable.is_empty(),
    }
}

/// Panics with the first duplicate text.
pub(crate) fn assert_no_doubles(texts: &[String]) {
    let mut seen = BTreeSet::new();
    for text in texts {
        assert!(seen.insert(text), "{text} is listed twice");
    }
}
