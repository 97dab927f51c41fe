//! The fields that tasks with changes forward to the connector, and the annotations in their reports.

use prost_types::Duration;

use super::{TIME, exchanged, id, keys, note};
use crate::agent::service::outcome::Outcome;
use crate::agent::service::tasks::answers::malformed;
use crate::agent::service::tasks::tests::recorder::Recorder;
use crate::agent::service::tasks::{changes, resources};
use crate::proto::connector::{
    AccountInfo, CreateAccountRequest, CreateAccountResponse, CreateResourceRequest, CreateResourceResponse,
    CredentialIssueOptions, CredentialOptions, DeleteResourceRequest, DeleteResourceResponse, Entitlement,
    Grant, GrantManagerServiceGrantRequest, GrantManagerServiceGrantResponse,
    GrantManagerServiceRevokeRequest, GrantManagerServiceRevokeResponse, IssueCredentialRequest,
    IssueCredentialResponse, Resource, RotateCredentialRequest, RotateCredentialResponse,
};
use crate::proto::connectorapi::task::{
    CreateAccountTask, CreateResourceTask, DeleteResourceTask, GrantTask, IssueCredentialTask, RevokeTask,
    RotateCredentialsTask,
};

fn resource() -> Resource {
    Resource { id: Some(id("user", "u1")), display_name: "Ada".to_owned(), ..Default::default() }
}

fn options() -> CredentialOptions {
    CredentialOptions { force_change_at_next_login: true, ..Default::default() }
}

#[tokio::test]
async fn a_grant_forwards_entitlement_and_principal_only() {
    let entitlement = Entitlement { id: "e1".to_owned(), ..Default::default() };
    let task = GrantTask {
        entitlement: Some(entitlement.clone()),
        principal: Some(resource()),
        annotations: vec![note("task")],
        duration: Some(Duration { seconds: 60, nanos: 0 }),
    };
    let response =
        GrantManagerServiceGrantResponse { annotations: vec![note("a"), note("b")], ..Default::default() };
    let (request, outcome): (GrantManagerServiceGrantRequest, _) =
        exchanged("Grant", &response, async |connector| changes::grant(connector, task).await).await;
    let expected = GrantManagerServiceGrantRequest {
        entitlement: Some(entitlement),
        principal: Some(resource()),
        ..Default::default()
    };
    assert_eq!(request, expected);
    assert_eq!(outcome, Outcome::answered(&response, vec![note("a"), note("b")]));
}

#[tokio::test]
async fn a_revocation_forwards_the_grant_only() {
    let grant = Grant { id: "g1".to_owned(), principal: Some(resource()), ..Default::default() };
    let task = RevokeTask { grant: Some(grant.clone()), annotations: vec![note("task")] };
    let response = GrantManagerServiceRevokeResponse { annotations: vec![note("a")] };
    let (request, outcome): (GrantManagerServiceRevokeRequest, _) =
        exchanged("Revoke", &response, async |connector| changes::revoke(connector, task).await).await;
    assert_eq!(request, GrantManagerServiceRevokeRequest { grant: Some(grant), ..Default::default() });
    assert_eq!(outcome, Outcome::answered(&response, vec![note("a")]));
}

#[tokio::test]
async fn an_account_task_forwards_all_fields() {
    let account_info = Some(AccountInfo { login: "ada".to_owned(), ..Default::default() });
    let task = CreateAccountTask {
        account_info: account_info.clone(),
        credential_options: Some(options()),
        encryption_configs: keys(),
        resource_type_id: "user".to_owned(),
    };
    let response = CreateAccountResponse { annotations: vec![note("a")], ..Default::default() };
    let (request, outcome): (CreateAccountRequest, _) =
        exchanged("CreateAccount", &response, async |connector| {
            changes::create_account(connector, task).await
        })
        .await;
    let expected = CreateAccountRequest {
        account_info,
        credential_options: Some(options()),
        encryption_configs: keys(),
        resource_type_id: "user".to_owned(),
    };
    assert_eq!(request, expected);
    assert_eq!(outcome, Outcome::answered(&response, vec![note("a")]));
}

#[tokio::test]
async fn resource_tasks_forward_all_fields() {
    let task = CreateResourceTask { resource: Some(resource()) };
    let response = CreateResourceResponse { annotations: vec![note("a")], ..Default::default() };
    let (request, outcome): (CreateResourceRequest, _) =
        exchanged("CreateResource", &response, async |connector| resources::create(connector, task).await)
            .await;
    assert_eq!(request, CreateResourceRequest { resource: Some(resource()) });
    assert_eq!(outcome, Outcome::answered(&response, vec![note("a")]));

    let (resource_id, parent_resource_id) = (Some(id("user", "u1")), Some(id("org", "o1")));
    let task = DeleteResourceTask {
        resource_id: resource_id.clone(),
        parent_resource_id: parent_resource_id.clone(),
    };
    let response = DeleteResourceResponse { annotations: vec![note("a")] };
    let (request, outcome): (DeleteResourceRequest, _) =
        exchanged("DeleteResource", &response, async |connector| resources::delete(connector, task).await)
            .await;
    assert_eq!(request, DeleteResourceRequest { resource_id, parent_resource_id });
    assert_eq!(outcome, Outcome::answered(&response, vec![note("a")]));
}

#[tokio::test]
async fn a_rotation_forwards_all_fields() {
    let task = RotateCredentialsTask {
        resource_id: Some(id("user", "u1")),
        credential_options: Some(options()),
        encryption_configs: keys(),
    };
    let response = RotateCredentialResponse { annotations: vec![note("a")], ..Default::default() };
    let (request, outcome): (RotateCredentialRequest, _) =
        exchanged("RotateCredential", &response, async |connector| {
            resources::rotate_credentials(connector, task).await
        })
        .await;
    let expected = RotateCredentialRequest {
        resource_id: Some(id("user", "u1")),
        credential_options: Some(options()),
        encryption_configs: keys(),
    };
    assert_eq!(request, expected);
    assert_eq!(outcome, Outcome::answered(&response, vec![note("a")]));
}

#[tokio::test]
async fn a_credential_request_has_the_id_of_its_task() {
    let task = IssueCredentialTask {
        identity_id: Some(id("user", "u1")),
        credential_options: Some(CredentialIssueOptions::default()),
        encryption_configs: keys(),
        expires_at: Some(TIME),
    };
    let response = IssueCredentialResponse { annotations: vec![note("a")], ..Default::default() };
    let issued = task.clone();
    let (request, outcome): (IssueCredentialRequest, _) =
        exchanged("IssueCredential", &response, async |connector| {
            resources::issue_credential(connector, "t7", issued).await
        })
        .await;
    let expected = IssueCredentialRequest {
        identity_id: Some(id("user", "u1")),
        credential_options: Some(CredentialIssueOptions::default()),
        encryption_configs: keys(),
        request_id: "t7".to_owned(),
        expires_at: Some(TIME),
    };
    assert_eq!(request, expected);
    assert_eq!(outcome, Outcome::answered(&response, vec![note("a")]));

    let connector = Recorder::default();
    let channel = connector.channel().await;
    for incomplete in [
        IssueCredentialTask { encryption_configs: Vec::new(), ..task.clone() },
        IssueCredentialTask { credential_options: None, ..task.clone() },
        IssueCredentialTask { identity_id: Some(id("user", "")), ..task },
    ] {
        let outcome = resources::issue_credential(&channel, "t7", incomplete).await;
        assert_eq!(outcome, malformed("issue credential").into());
    }
    assert!(connector.methods().is_empty());
}
