//! Changes: grants, revocations and accounts. A failure is final: ConductorOne creates a new task if needed.

use tonic::transport::Channel;

use crate::agent::service::outcome::{Failure, Outcome};
use crate::agent::service::tasks::answers::{ended, malformed, or_permanent};
use crate::proto::connector::account_manager_service_client::AccountManagerServiceClient;
use crate::proto::connector::grant_manager_service_client::GrantManagerServiceClient;
use crate::proto::connector::{
    CreateAccountRequest, GrantManagerServiceGrantRequest, GrantManagerServiceRevokeRequest,
};
use crate::proto::connectorapi::task::{CreateAccountTask, GrantTask, RevokeTask};

pub(super) async fn grant(connector: &Channel, task: GrantTask) -> Outcome {
    let (Some(entitlement), Some(principal)) = (task.entitlement, task.principal) else {
        return malformed("grant").into();
    };
    let request = GrantManagerServiceGrantRequest {
        entitlement: Some(entitlement),
        principal: Some(principal),
        ..Default::default()
    };
    let answer = GrantManagerServiceClient::new(connector.clone()).grant(request).await;
    ended(or_permanent(answer).map(|answer| {
        let annotations = answer.annotations.clone();
        Outcome::answered(&answer, annotations)
    }))
}

pub(super) async fn revoke(connector: &Channel, task: RevokeTask) -> Outcome {
    let Some(grant) = task.grant else {
        return Failure::plain("invalid task type").permanent().into();
    };
    let request = GrantManagerServiceRevokeRequest { grant: Some(grant), ..Default::default() };
    let answer = GrantManagerServiceClient::new(connector.clone()).revoke(request).await;
    ended(or_permanent(answer).map(|answer| {
        let annotations = answer.annotations.clone();
        Outcome::answered(&answer, annotations)
    }))
}

pub(super) async fn create_account(connector: &Channel, task: CreateAccountTask) -> Outcome {
    let Some(account_info) = task.account_info else {
        return malformed("create account").into();
    };
    let request = CreateAccountRequest {
        account_info: Some(account_info),
        credential_options: task.credential_options,
        encryption_configs: task.encryption_configs,
        resource_type_id: task.resource_type_id,
    };
    let answer = AccountManagerServiceClient::new(connector.clone()).create_account(request).await;
    ended(or_permanent(answer).map(|answer| {
        let annotations = answer.annotations.clone();
        Outcome::answered(&answer, annotations)
    }))
}
