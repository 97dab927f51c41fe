//! A full sync through the function, by this program's own agent.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use baton_retool::agent::c1z::{
    DecodeLimits, EntitlementFilter, GrantFilter, Reader, ResourceFilter, Store, StoreOptions,
};
use baton_retool::agent::sync::{Options, Syncer};
use baton_retool::proto::any;
use baton_retool::proto::connector::{
    GrantsServiceListGrantsRequest, GrantsServiceListGrantsResponse, Resource, ResourceId,
    ResourcesServiceListResourcesRequest, ResourcesServiceListResourcesResponse,
};
use prost::Name;
use serde_json::Value;
use tonic::transport::Channel;

use crate::support::hosted::bridge::channel;
use crate::support::hosted::caller::{Answered, Call, Form, as_json};
use crate::support::hosted::runtime::Posted;
use crate::support::hosted::stage::Stage;
use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;

/// The content of a file, by id, as JSON, because the order of map entries has no meaning.
#[derive(Debug, PartialEq)]
struct Content {
    types: BTreeMap<String, Value>,
    resources: BTreeMap<String, Value>,
    entitlements: BTreeMap<String, Value>,
    grants: BTreeMap<String, Value>,
}

fn row<M: Name>(id: String, row: &M) -> (String, Value) {
    (id, as_json(&any(row)))
}

async fn synced(channel: Channel, file: &Path) -> Content {
    let store = Store::open(&StoreOptions::new(file)).unwrap();
    let (outcome, store) = Syncer::new(channel, Options::default()).run(store).await;
    outcome.unwrap();
    store.unwrap().close().unwrap().unwrap();
    let reader = Reader::open(file, None, DecodeLimits::default()).unwrap();
    assert!(reader.run().unwrap().ended_at.is_some());
    let resources = reader.resources(&ResourceFilter::default(), None, usize::MAX).unwrap().rows;
    let entitlements = reader.entitlements(&EntitlementFilter::default(), None, usize::MAX).unwrap().rows;
    let grants = reader.grants(&GrantFilter::default(), None, usize::MAX).unwrap().rows;
    let id = |id: &Option<ResourceId>| {
        let id = id.clone().unwrap();
        format!("{}/{}", id.resource_type, id.resource)
    };
    Content {
        types: reader.resource_types().unwrap().iter().map(|one| row(one.id.clone(), one)).collect(),
        resources: resources.iter().map(|one| row(id(&one.id), one)).collect(),
        entitlements: entitlements.iter().map(|one| row(one.id.clone(), one)).collect(),
        grants: grants.iter().map(|one| row(one.id.clone(), one)).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_through_the_function_equals_a_sync_over_the_port() {
    let database = Database::small().await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&database, &["--provisioning"]);
    let over_the_port = synced(server.channel().await, &folder.path().join("port.c1z")).await;
    assert!(over_the_port.grants.len() > 100);
    let stage = Arc::new(Stage::before(database).await);
    for form in Form::ALL {
        let file = folder.path().join(format!("{form:?}.c1z"));
        let through = synced(channel(Arc::clone(&stage), form).await, &file).await;
        // `assert_eq` is not used, because it would print both values.
        assert!(through.types == over_the_port.types, "{form:?}");
        for (through, over_the_port) in [
            (&through.resources, &over_the_port.resources),
            (&through.entitlements, &over_the_port.entitlements),
            (&through.grants, &over_the_port.grants),
        ] {
            assert!(through.keys().eq(over_the_port.keys()), "{form:?}");
            for (id, row) in through {
                assert_eq!(row, &over_the_port[id], "{form:?} {id}");
            }
        }
    }
}

/// An answer, and its size in bytes for Lambda.
async fn measured(stage: &Stage, call: Call, form: Form) -> (Answered, usize) {
    let call = call.with("authorization", &[&stage.parts.signer.token()]);
    let posted = stage.invoke(&call.event(form)).await;
    let Posted::Reply(bytes) = &posted else { panic!("{posted:?}") };
    (Answered::read(&posted, form), bytes.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stay_below_the_size_limit_of_lambda() {
    const LARGEST: usize = 6 * 1024 * 1024;
    let database = Database::seeded(Sizes { users: 6_000, groups: 3, pages: 3, resources: 2 }).await;
    let stage = Stage::before(database).await;
    let group = Resource {
        id: Some(ResourceId {
            resource_type: "group".to_owned(),
            resource: "g1".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    for form in Form::ALL {
        let organization =
            ResourceId { resource_type: "org".to_owned(), resource: "o1".to_owned(), ..Default::default() };
        let users = ResourcesServiceListResourcesRequest {
            resource_type_id: "user".to_owned(),
            parent_resource_id: Some(organization),
            ..Default::default()
        };
        let (answered, bytes) =
            measured(&stage, Call::of("ResourcesService/ListResources", &users), form).await;
        let page: ResourcesServiceListResourcesResponse = answered.message();
        assert!(!page.next_page_token.is_empty() && page.list.len() > 500, "{}", page.list.len());
        assert!(bytes < LARGEST, "{form:?}: {bytes} bytes");

        let grants = GrantsServiceListGrantsRequest { resource: Some(group.clone()), ..Default::default() };
        let (answered, bytes) = measured(&stage, Call::of("GrantsService/ListGrants", &grants), form).await;
        let page: GrantsServiceListGrantsResponse = answered.message();
        assert!(bytes < LARGEST, "{form:?}: {bytes} bytes");
        eprintln!("{form:?}: {} grants in {bytes} bytes", page.list.len());
    }
}
