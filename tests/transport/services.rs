//! Every method of the sixteen services that an agent expects, with provisioning off.

use baton_retool::proto::config::field as config_field;
use baton_retool::proto::connector::asset_service_client::AssetServiceClient;
use baton_retool::proto::connector::connector_account_creation_schema::field as account_field;
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::{
    ActionType, AssetRef, AssetServiceGetAssetRequest, Capability, CapabilityDetailCredentialOption,
    ConnectorMetadata, ConnectorServiceCleanupRequest, ConnectorServiceCleanupResponse,
    ConnectorServiceGetMetadataRequest, ConnectorServiceGetMetadataResponse, ConnectorServiceValidateRequest,
    ConnectorServiceValidateResponse, CreateAccountRequest, CreateAccountResponse, CreateResourceRequest,
    CreateResourceResponse, DeleteResourceRequest, DeleteResourceResponse, DeleteResourceV2Request,
    DeleteResourceV2Response, Entitlement, EntitlementsServiceListStaticEntitlementsRequest,
    EntitlementsServiceListStaticEntitlementsResponse, GetActionSchemaRequest, GetActionSchemaResponse,
    GetActionStatusRequest, GetActionStatusResponse, Grant, GrantManagerServiceGrantRequest,
    GrantManagerServiceGrantResponse, GrantManagerServiceRevokeRequest, GrantManagerServiceRevokeResponse,
    InvokeActionRequest, InvokeActionResponse, IssueCredentialRequest, IssueCredentialResponse,
    ListActionSchemasRequest, ListActionSchemasResponse, ListEventFeedsRequest, ListEventFeedsResponse,
    ListEventsRequest, ListEventsResponse, ResourceTypesServiceListResourceTypesRequest,
    ResourceTypesServiceListResourceTypesResponse, RotateCredentialRequest, RotateCredentialResponse,
};
use baton_retool::proto::descriptor_pool;
use baton_retool::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use baton_retool::proto::ratelimit::{DoRequest, DoResponse, ReportRequest};
use prost::Message;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::postgres::Database;
use crate::support::server::Server;
use crate::support::wire::{Wire, assert_refused, id, resource};

/// The services that a connector child registers.
const SERVICES: [&str; 16] = [
    "c1.connector.v2.AccountManagerService",
    "c1.connector.v2.ActionService",
    "c1.connector.v2.AssetService",
    "c1.connector.v2.ConnectorService",
    "c1.connector.v2.CredentialManagerService",
    "c1.connector.v2.EntitlementsService",
    "c1.connector.v2.EventService",
    "c1.connector.v2.GrantManagerService",
    "c1.connector.v2.GrantsService",
    "c1.connector.v2.ResourceDeleterService",
    "c1.connector.v2.ResourceGetterService",
    "c1.connector.v2.ResourceManagerService",
    "c1.connector.v2.ResourceTypesService",
    "c1.connector.v2.ResourcesService",
    "c1.connector.v2.TicketsService",
    "c1.ratelimit.v1.RateLimiterService",
];

async fn metadata(wire: &Wire) -> ConnectorMetadata {
    let request = ConnectorServiceGetMetadataRequest::default();
    let answer: ConnectorServiceGetMetadataResponse =
        wire.call("ConnectorService/GetMetadata", &request).await.unwrap();
    answer.metadata.unwrap()
}

/// Capabilities by resource type, in the order given.
fn capabilities(metadata: &ConnectorMetadata) -> Vec<(String, Vec<Capability>)> {
    let capabilities = metadata.capabilities.as_ref().unwrap();
    let of_types = capabilities.resource_type_capabilities.iter();
    of_types
        .map(|one| (one.resource_type.as_ref().unwrap().id.clone(), one.capabilities().collect()))
        .collect()
}

#[tokio::test]
async fn metadata_lists_every_capability() {
    use Capability::{AccountProvisioning, Actions, Provision, ServiceModeTargetedSync, Sync, TargetedSync};
    // No server listens on this port: the metadata needs no database.
    let server = Server::start_at("postgres://baton@127.0.0.1:1/retool", &[]);
    let metadata = metadata(&Wire::to(&server).await).await;
    assert_eq!(metadata.display_name, "Retool");
    assert!(metadata.description.contains("Retool") && metadata.description.contains("connector"));
    assert_eq!((metadata.help_url.as_str(), &metadata.icon, &metadata.logo), ("", &None, &None));
    assert_eq!((&metadata.profile, metadata.annotations.len()), (&None, 0));

    let expected = [
        ("group", vec![Sync, Provision, TargetedSync]),
        ("org", vec![Sync, TargetedSync]),
        ("page", vec![Sync, Provision, TargetedSync]),
        ("resource", vec![Sync, TargetedSync]),
        ("user", vec![Sync, AccountProvisioning, TargetedSync]),
    ];
    assert_eq!(capabilities(&metadata), expected.map(|(name, all)| (name.to_owned(), all)));
    let capabilities = metadata.capabilities.unwrap();
    let of_connector: Vec<_> = capabilities.connector_capabilities().collect();
    assert_eq!(
        of_connector,
        [Provision, Sync, AccountProvisioning, Actions, TargetedSync, ServiceModeTargetedSync]
    );
    for one in &capabilities.resource_type_capabilities {
        assert_eq!(one.permissions.as_ref().unwrap().permissions.len(), 0);
    }
    let credentials = capabilities.credential_details.unwrap();
    assert_eq!(credentials.capability_credential_rotation, None);
    let account = credentials.capability_account_provisioning.unwrap();
    let no_password = CapabilityDetailCredentialOption::NoPassword;
    assert_eq!(account.supported_credential_options().collect::<Vec<_>>(), [no_password]);
    assert_eq!(account.preferred_credential_option(), no_password);

    let schema = metadata.account_creation_schema.unwrap().field_map;
    assert_eq!(schema.len(), 4);
    for (key, name, required, order, placeholder) in [
        ("email", "Email", true, 1, "email@example.com"),
        ("first_name", "First Name", true, 2, "First Name"),
        ("last_name", "Last Name", true, 3, "Last Name"),
        ("user_type", "User Type", false, 4, "default"),
    ] {
        let field = &schema[key];
        assert_eq!(
            (field.display_name.as_str(), field.required, field.order, field.placeholder.as_str()),
            (name, required, order, placeholder)
        );
        assert!(field.description.ends_with('.'), "{key} {:?}", field.description);
        let Some(account_field::Field::StringField(text)) = &field.field else { panic!("{key}: {field:?}") };
        assert_eq!(text.default_value, None);
    }
    for word in ["default", "mobile", "embed"] {
        assert!(schema["user_type"].description.contains(word));
    }
}

#[tokio::test]
async fn metadata_depends_only_on_skipped_resource_types() {
    let nowhere = "postgres://baton@127.0.0.1:1/retool";
    let plain = Server::start_at(nowhere, &[]);
    let plain = metadata(&Wire::to(&plain).await).await;
    let rest = ["--retool-api-base-url", "https://retool.example.com", "--retool-api-token", "secret"];
    for extra in [&["--provisioning"][..], &["--ticketing"], &["--skip-disabled-users"], &rest] {
        let server = Server::start_at(nowhere, extra);
        assert_eq!(metadata(&Wire::to(&server).await).await, plain, "{extra:?}");
    }
    let less = Server::start_at(nowhere, &["--skip-pages", "--skip-resources"]);
    let less = capabilities(&metadata(&Wire::to(&less).await).await);
    assert_eq!(less.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["group", "org", "user"]);
}

#[tokio::test]
async fn resource_types_are_listed_in_a_fixed_order() {
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    for _ in 0..3 {
        let request = ResourceTypesServiceListResourceTypesRequest::default();
        let answer: ResourceTypesServiceListResourceTypesResponse =
            wire.call("ResourceTypesService/ListResourceTypes", &request).await.unwrap();
        let types: Vec<_> = answer.list.iter().map(|one| (one.id.as_str(), one.traits().collect())).collect();
        let expected: [(&str, Vec<Trait>); 5] = [
            ("org", vec![]),
            ("user", vec![Trait::User]),
            ("group", vec![Trait::Group]),
            ("page", vec![]),
            ("resource", vec![]),
        ];
        assert_eq!(types, expected);
    }
}

#[tokio::test]
async fn validate_returns_the_protocol_level_and_cleanup_succeeds() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let request = ConnectorServiceValidateRequest::default();
    let answer: ConnectorServiceValidateResponse =
        wire.call("ConnectorService/Validate", &request).await.unwrap();
    assert_eq!((answer.sdk_version.as_str(), answer.annotations.len()), ("v0.25.0", 0));
    let request = ConnectorServiceCleanupRequest::default();
    let answer: ConnectorServiceCleanupResponse =
        wire.call("ConnectorService/Cleanup", &request).await.unwrap();
    assert_eq!(answer, ConnectorServiceCleanupResponse::default());
}

#[tokio::test]
async fn no_entitlement_is_static() {
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    for kind in ["org", "user", "group", "page", "resource"] {
        let request = EntitlementsServiceListStaticEntitlementsRequest {
            resource_type_id: kind.to_owned(),
            ..Default::default()
        };
        let answer: EntitlementsServiceListStaticEntitlementsResponse =
            wire.call("EntitlementsService/ListStaticEntitlements", &request).await.unwrap();
        assert_eq!(answer, EntitlementsServiceListStaticEntitlementsResponse::default());
    }
}

#[tokio::test]
async fn the_two_actions_are_described_in_a_fixed_order() {
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let answer: ListActionSchemasResponse =
        wire.call("ActionService/ListActionSchemas", &ListActionSchemasRequest::default()).await.unwrap();
    let expected = [
        ("enable_user", "Enable User", ActionType::AccountEnable),
        ("disable_user", "Disable User", ActionType::AccountDisable),
    ];
    assert_eq!(answer.schemas.len(), expected.len());
    for (schema, (name, display_name, kind)) in answer.schemas.iter().zip(expected) {
        assert_eq!((schema.name.as_str(), schema.display_name.as_str()), (name, display_name));
        assert!(!schema.description.is_empty());
        assert_eq!(schema.action_type().collect::<Vec<_>>(), [kind]);
        assert_eq!((schema.resource_type_id.as_str(), schema.constraints.len()), ("", 0));
        let [argument] = &schema.arguments[..] else { panic!("{schema:?}") };
        assert_eq!((argument.name.as_str(), argument.display_name.as_str()), ("user_id", "User"));
        assert!(argument.is_required);
        let Some(config_field::Field::ResourceIdField(user)) = &argument.field else {
            panic!("{argument:?}")
        };
        assert_eq!(user.rules.as_ref().unwrap().allowed_resource_type_ids, ["user"]);
        let [returned] = &schema.return_types[..] else { panic!("{schema:?}") };
        assert_eq!((returned.name.as_str(), returned.display_name.as_str()), ("success", "Success"));
        assert!(matches!(returned.field, Some(config_field::Field::BoolField(_))));

        let request = GetActionSchemaRequest { name: name.to_owned(), ..Default::default() };
        let alone: GetActionSchemaResponse =
            wire.call("ActionService/GetActionSchema", &request).await.unwrap();
        assert_eq!(alone.schema.as_ref(), Some(schema));
    }
    let request = ListActionSchemasRequest { resource_type_id: "user".to_owned(), ..Default::default() };
    let of_type: ListActionSchemasResponse =
        wire.call("ActionService/ListActionSchemas", &request).await.unwrap();
    assert_eq!(of_type.schemas, []);
    let request = GetActionSchemaRequest { name: "delete_user".to_owned(), ..Default::default() };
    let answer = wire.call::<GetActionSchemaResponse>("ActionService/GetActionSchema", &request).await;
    assert_refused(answer, Code::NotFound, &["delete_user", "ListActionSchemas"]);
}

fn grant_request() -> GrantManagerServiceGrantRequest {
    let entitlement = Entitlement {
        id: "group:g4:member".to_owned(),
        resource: Some(resource("group", "g4")),
        ..Default::default()
    };
    GrantManagerServiceGrantRequest {
        entitlement: Some(entitlement),
        principal: Some(resource("user", "u5")),
        ..Default::default()
    }
}

/// The results of valid requests for every kind of change.
pub(super) async fn changes(wire: &Wire) -> Vec<(&'static str, Result<(), Status>)> {
    let grant = Grant {
        id: "group:g4:member:user:u5".to_owned(),
        entitlement: grant_request().entitlement,
        principal: Some(resource("user", "u5")),
        ..Default::default()
    };
    let revoke = GrantManagerServiceRevokeRequest { grant: Some(grant), ..Default::default() };
    let create = CreateResourceRequest { resource: Some(resource("group", "g4")) };
    let delete = DeleteResourceRequest { resource_id: Some(id("group", "g4")), ..Default::default() };
    let delete_v2 = DeleteResourceV2Request { resource_id: Some(id("group", "g4")), ..Default::default() };
    let account = CreateAccountRequest::default();
    let rotate = RotateCredentialRequest { resource_id: Some(id("user", "u5")), ..Default::default() };
    let issue = IssueCredentialRequest {
        identity_id: Some(id("user", "u5")),
        request_id: "request-1".to_owned(),
        ..Default::default()
    };
    let invoke = InvokeActionRequest { name: "enable_user".to_owned(), ..Default::default() };
    let status = GetActionStatusRequest { id: "x".to_owned(), ..Default::default() };
    macro_rules! answers {
        ($($method:literal $request:expr => $answer:ty),* $(,)?) => {
            vec![$(($method, wire.call::<$answer>($method, $request).await.map(drop))),*]
        };
    }
    answers![
        "GrantManagerService/Grant" &grant_request() => GrantManagerServiceGrantResponse,
        "GrantManagerService/Revoke" &revoke => GrantManagerServiceRevokeResponse,
        "ResourceManagerService/CreateResource" &create => CreateResourceResponse,
        "ResourceManagerService/DeleteResource" &delete => DeleteResourceResponse,
        "ResourceDeleterService/DeleteResourceV2" &delete_v2 => DeleteResourceV2Response,
        "AccountManagerService/CreateAccount" &account => CreateAccountResponse,
        "CredentialManagerService/RotateCredential" &rotate => RotateCredentialResponse,
        "CredentialManagerService/IssueCredential" &issue => IssueCredentialResponse,
        "ActionService/InvokeAction" &invoke => InvokeActionResponse,
        "ActionService/GetActionStatus" &status => GetActionStatusResponse,
    ]
}

#[tokio::test]
async fn changes_are_refused_while_provisioning_is_off() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    for (method, answer) in changes(&Wire::to(&server).await).await {
        let Err(status) = answer else { panic!("{method}: answered") };
        assert_eq!(status.code(), Code::FailedPrecondition, "{method}: {status:?}");
        assert!(status.message().contains("provisioning is not enabled"), "{method}: {status:?}");
    }
}

#[tokio::test]
async fn unsupported_changes_are_refused_with_provisioning_on() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--provisioning"]);
    for (method, answer) in changes(&Wire::to(&server).await).await {
        let managers = ["ResourceManagerService", "ResourceDeleterService", "CredentialManagerService"];
        if managers.iter().any(|service| method.starts_with(service)) {
            let Err(status) = answer else { panic!("{method}: answered") };
            assert_eq!(status.code(), Code::Unimplemented, "{method}: {status:?}");
        }
    }
    let nobody = IssueCredentialRequest { request_id: "request-1".to_owned(), ..Default::default() };
    let issue = "CredentialManagerService/IssueCredential";
    let answer = Wire::to(&server).await.call::<IssueCredentialResponse>(issue, &nobody).await;
    assert_refused(answer, Code::InvalidArgument, &["identity_id"]);
}

#[tokio::test]
async fn a_malformed_change_is_refused_before_provisioning_is_checked() {
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let mut without_principal = grant_request();
    without_principal.principal = None;
    let answer =
        wire.call::<GrantManagerServiceGrantResponse>("GrantManagerService/Grant", &without_principal).await;
    assert_refused(answer, Code::InvalidArgument, &["principal", "must be set"]);
    let mut nested = grant_request();
    nested.entitlement.as_mut().unwrap().resource = None;
    let answer = wire.call::<GrantManagerServiceGrantResponse>("GrantManagerService/Grant", &nested).await;
    assert_refused(answer, Code::InvalidArgument, &["entitlement.resource"]);
    let nothing = GrantManagerServiceRevokeRequest::default();
    let answer = wire.call::<GrantManagerServiceRevokeResponse>("GrantManagerService/Revoke", &nothing).await;
    assert_refused(answer, Code::InvalidArgument, &["grant"]);
}

#[tokio::test]
async fn tickets_are_refused_with_an_error_that_depends_on_ticketing() {
    let database = Database::empty_schema().await;
    for (extra, code, word) in [
        (&[][..], Code::Unknown, "ticketing is not enabled"),
        (&["--ticketing"], Code::Unimplemented, "not implemented"),
    ] {
        let server = Server::start(&database, extra);
        let wire = Wire::to(&server).await;
        let service = descriptor_pool().get_service_by_name("c1.connector.v2.TicketsService").unwrap();
        assert_eq!(service.methods().len(), 6);
        for method in service.methods() {
            let path = format!("{}/{}", service.full_name(), method.name());
            // No rule refuses an empty request of these methods.
            assert_refused(wire.raw(&path, Vec::new()).await, code, &[word]);
        }
    }
}

#[tokio::test]
async fn there_are_no_event_feeds() {
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let answer: ListEventFeedsResponse =
        wire.call("EventService/ListEventFeeds", &ListEventFeedsRequest::default()).await.unwrap();
    assert_eq!(answer.list, []);
    for (asked, named) in [("", "baton_feed_event"), ("sign-ins", "sign-ins")] {
        let request = ListEventsRequest { event_feed_id: asked.to_owned(), ..Default::default() };
        let answer = wire.call::<ListEventsResponse>("EventService/ListEvents", &request).await;
        assert_refused(answer, Code::NotFound, &[named]);
    }
}

#[tokio::test]
async fn get_asset_returns_an_empty_stream() {
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let mut client = AssetServiceClient::new(server.channel().await);
    let asset = AssetRef { id: "icon".to_owned() };
    let request = AssetServiceGetAssetRequest { asset: Some(asset) };
    let mut answer = client.get_asset(request).await.unwrap().into_inner();
    assert!(answer.message().await.unwrap().is_none());
}

#[tokio::test]
async fn the_rate_limiter_allows_everything_and_returns_the_token() {
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let request = DoRequest { request_token: "0123456789".to_owned(), ..Default::default() };
    let answer = wire.raw("c1.ratelimit.v1.RateLimiterService/Do", request.encode_to_vec()).await.unwrap();
    let answer = DoResponse::decode(answer.as_slice()).unwrap();
    assert_eq!(answer.request_token, "0123456789");
    assert_eq!(answer.description.unwrap().status(), LimitStatus::Empty);
    let request = ReportRequest { request_token: "0123456789".to_owned(), ..Default::default() };
    let answer = wire.raw("c1.ratelimit.v1.RateLimiterService/Report", request.encode_to_vec()).await;
    assert_eq!(answer.unwrap(), Vec::<u8>::new());
}

#[tokio::test]
async fn every_service_is_healthy_by_name() {
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let mut client = HealthClient::new(server.channel().await);
    for service in std::iter::once("").chain(SERVICES) {
        let answer = client.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let answer =
        client.check(HealthCheckRequest { service: "c1.connector.v2.SchemaService".to_owned() }).await;
    assert_refused(answer, Code::NotFound, &[]);
}

#[tokio::test]
async fn reflection_lists_every_service_and_describes_it() {
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &[]);
    let mut client = ServerReflectionClient::new(server.channel().await);
    let mut ask = async |question| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut answers =
            client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(listed) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list")
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(names.iter().any(|name| name == service), "{service} is not in {names:?}");
        let answer = ask(MessageRequest::FileContainingSymbol(service.to_owned())).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{service}: {answer:?}");
    }
}
