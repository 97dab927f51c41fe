//! Resources and credentials that a connector creates and removes. This program's own connector rejects all
//! of these tasks; other connectors may support them.

use tonic::transport::Channel;

use crate::agent::service::outcome::Outcome;
use crate::agent::service::tasks::answers::{ended, malformed, or_permanent};
use crate::proto::connector::credential_manager_service_client::CredentialManagerServiceClient;
use crate::proto::connector::resource_manager_service_client::ResourceManagerServiceClient;
use crate::proto::connector::{
    CreateResourceRequest, DeleteResourceRequest, IssueCredentialRequest, ResourceId, RotateCredentialRequest,
};
use crate::proto::connectorapi::task::{
    CreateResourceTask, DeleteResourceTask, IssueCredentialTask, RotateCredentialsTask,
};

pub(super) async fn create(connector: &Channel, task: CreateResourceTask) -> Outcome {
    let Some(resource) = task.resource else {
        return malformed("create resource").into();
    };
    let request = CreateResourceRequest { resource: Some(resource) };
    let answer = ResourceManagerServiceClient::new(connector.clone()).create_resource(request).await;
    ended(or_permanent(answer).map(|answer| {
        let annotations = answer.annotations.clone();
        Outcome::answered(&answer, annotations)
    }))
}

pub(super) async fn delete(connector: &Channel, task: DeleteResourceTask) -> Outcome {
    let Some(resource_id) = task.resource_id.filter(is_whole) else {
        return malformed("delete resource").into();
    };
    let request =
        DeleteResourceRequest { resource_id: Some(resource_id), parent_resource_id: task.parent_resource_id };
    let answer = ResourceManagerServiceClient::new(connector.clone()).delete_resource(request).await;
    ended(or_permanent(answer).map(|answer| {
        let annotations = answer.annotations.clone();
        Outcome::answered(&answer, annotations)
    }))
}

pub(super) async fn rotate_credentials(connector: &Channel, task: RotateCredentialsTask) -> Outcome {
    let Some(resource_id) = task.resource_id.filter(is_whole) else {
        return malformed("rotate credentials").into();
    };
    let request = RotateCredentialRequest {
        resource_id: Some(resource_id),
        credential_options: task.credential_options,
        encryption_configs: task.encryption_configs,
    };
    let answer = CredentialManagerServiceClient::new(connector.clone()).rotate_credential(request).await;
    ended(or_permanent(answer).map(|answer| {
        let annotations = answer.annotations.clone();
        Outcome::answered(&answer, annotations)
    }))
}

pub(super) async fn issue_credential(
    connector: &Channel,
    task_id: &str,
    task: IssueCredentialTask,
) -> Outcome {
    let (Some(identity_id), Some(options)) = (task.identity_id.filter(is_whole), task.credential_options)
    else {
        return malformed("issue credential").into();
    };
    if task.encryption_configs.is_empty() {
        return malformed("issue credential").into();
    }
    let request = IssueCredentialRequest {
        identity_id: Some(identity_id),
        credential_options: Some(options),
        encryption_configs: task.encryption_configs,
        request_id: task_id.to_owned(),
        expires_at: task.expires_at,
    };
    let answer = CredentialManagerServiceClient::new(connector.clone()).issue_credential(request).await;
    ended(or_permanent(answer).map(|answer| {
        let annotations = answer.annotations.clone();
        Outcome::answered(&answer, annotations)
    }))
}

fn is_whole(id: &ResourceId) -> bool {
    !id.resource.is_empty() && !id.resource_type.is_empty()
}
