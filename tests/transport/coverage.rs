//! Compares the table of RPCs in `docs/protocol.md` with the protocol and with the answers of the server.

use std::collections::BTreeMap;

use baton_retool::proto::connector::asset_service_client::AssetServiceClient;
use baton_retool::proto::connector::{
    AssetRef, AssetServiceGetAssetRequest, EntitlementsServiceListEntitlementsRequest,
    EntitlementsServiceListStaticEntitlementsRequest, GetActionSchemaRequest, GrantsServiceListGrantsRequest,
    ResourceGetterServiceGetResourceRequest, ResourcesServiceListResourcesRequest,
};
use baton_retool::proto::descriptor_pool;
use prost::Message;
use tonic::{Code, Status};

use crate::support::cluster::project_file;
use crate::support::messages;
use crate::support::postgres::Database;
use crate::support::server::Server;
use crate::support::wire::{Wire, id, resource};
use crate::transport::services::changes;

/// The documented status of each RPC by its name, such as `GrantsService/ListGrants`.
fn documented() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(project_file("docs/protocol.md")).unwrap();
    let (_, rest) = page.split_once("<!-- coverage -->").expect("a mark before the table");
    let (table, _) = rest.split_once("<!-- /coverage -->").expect("a mark behind the table");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
    })
    .collect()
}

/// All declared RPCs of a connector, without those of `ConductorOne`'s API.
fn declared() -> Vec<(String, String)> {
    let services = descriptor_pool().services().filter(|service| service.name() != "BatonService");
    services
        .flat_map(|service| {
            let names: Vec<_> = service.methods().map(|rpc| rpc.name().to_owned()).collect();
            let short = |rpc: &String| format!("{}/{rpc}", service.name());
            let path = |rpc: &String| format!("{}/{rpc}", service.full_name());
            names.iter().map(|rpc| (short(rpc), path(rpc))).collect::<Vec<_>>()
        })
        .collect()
}

/// A request that the RPC can answer; empty if no field is needed.
fn request(rpc: &str) -> Vec<u8> {
    let kind = || "org".to_owned();
    match rpc {
        "ResourcesService/ListResources" => {
            ResourcesServiceListResourcesRequest { resource_type_id: kind(), ..Default::default() }
                .encode_to_vec()
        }
        "ResourceGetterService/GetResource" => ResourceGetterServiceGetResourceRequest {
            resource_id: Some(id("org", "o1")),
            ..Default::default()
        }
        .encode_to_vec(),
        "EntitlementsService/ListEntitlements" => EntitlementsServiceListEntitlementsRequest {
            resource: Some(resource("group", "g4")),
            ..Default::default()
        }
        .encode_to_vec(),
        "EntitlementsService/ListStaticEntitlements" => EntitlementsServiceListStaticEntitlementsRequest {
            resource_type_id: kind(),
            ..Default::default()
        }
        .encode_to_vec(),
        "GrantsService/ListGrants" => {
            GrantsServiceListGrantsRequest { resource: Some(resource("group", "g4")), ..Default::default() }
                .encode_to_vec()
        }
        "ActionService/GetActionSchema" => {
            GetActionSchemaRequest { name: "enable_user".to_owned(), ..Default::default() }.encode_to_vec()
        }
        _ => Vec::new(),
    }
}

/// Whether a successful answer has content.
async fn ask(wire: &Wire, rpc: &str, path: &str) -> Result<bool, Status> {
    if rpc != "AssetService/GetAsset" {
        return Ok(!wire.raw(path, request(rpc)).await?.is_empty());
    }
    let asset = AssetServiceGetAssetRequest { asset: Some(AssetRef { id: "icon".to_owned() }) };
    let mut stream = AssetServiceClient::new(wire.channel()).get_asset(asset).await?.into_inner();
    Ok(stream.message().await?.is_some())
}

/// The expected text of the page, from the answers with all changes off and with everything on.
fn status(served: bool, rpc: &str, off: Result<bool, Status>, on: Result<bool, Status>) -> &'static str {
    // The answers of these RPCs have only annotations.
    let silent = ["ConnectorService/Cleanup", "RateLimiterService/Report"].contains(&rpc);
    match (off.map_err(|status| status.code()), on.map_err(|status| status.code())) {
        (Err(Code::Unimplemented), Err(Code::Unimplemented)) if !served => "not served",
        (Ok(false), Ok(false)) if !silent => "empty",
        (Ok(_), Ok(_)) => "answered",
        (Err(Code::FailedPrecondition), Err(Code::Unimplemented)) => "not implemented",
        (Err(Code::FailedPrecondition), _) => "off by default",
        _ => "not implemented",
    }
}

#[tokio::test]
async fn the_protocol_page_lists_every_rpc_with_its_status() {
    let database = Database::small().await;
    let off_server = Server::start(&database, &[]);
    let on_server = Server::start(&database, &["--provisioning", "--ticketing"]);
    let (off, on) = (Wire::to(&off_server).await, Wire::to(&on_server).await);
    let held = |answers: Vec<(&str, Result<(), Status>)>| {
        let all = answers.into_iter().map(|(rpc, answer)| (rpc.to_owned(), answer.map(|()| true)));
        all.collect::<BTreeMap<_, _>>()
    };
    let (mut changes_off, mut changes_on) = (held(changes(&off).await), held(changes(&on).await));
    let services: Vec<_> = messages::services().map(|service| service.name().to_owned()).collect();

    let mut observed = BTreeMap::new();
    for (rpc, path) in declared() {
        let served = services.iter().any(|service| rpc.starts_with(&format!("{service}/")));
        let (without, with) = match (changes_off.remove(&rpc), changes_on.remove(&rpc)) {
            (Some(off), Some(on)) => (off, on),
            _ => (ask(&off, &rpc, &path).await, ask(&on, &rpc, &path).await),
        };
        let status = status(served, &rpc, without, with).to_owned();
        observed.insert(rpc, status);
    }
    assert_eq!(observed, documented(), "left: what the server does; right: docs/protocol.md");
}
