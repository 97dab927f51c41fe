//! `AccountManagerService`, `ResourceManagerService`, `ResourceDeleterService` and
//! `CredentialManagerService`: create, delete and unlock resources.

use tonic::{Request, Response, Status};

use crate::proto::connector::account_manager_service_server::AccountManagerService;
use crate::proto::connector::credential_manager_service_server::CredentialManagerService;
use crate::proto::connector::resource_deleter_service_server::ResourceDeleterService;
use crate::proto::connector::resource_manager_service_server::ResourceManagerService;
use crate::proto::connector::{
    CreateAccountRequest, CreateAccountResponse, CreateResourceRequest, CreateResourceResponse,
    DeleteResourceRequest, DeleteResourceResponse, DeleteResourceV2Request, DeleteResourceV2Response,
    IssueCredentialRequest, IssueCredentialResponse, RotateCredentialRequest, RotateCredentialResponse,
};
use crate::server::services::Services;
use crate::server::services::caller::caller;

#[tonic::async_trait]
impl AccountManagerService for Services {
    /// The request has no annotations, so only its headers can contain the request id.
    async fn create_account(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Result<Response<CreateAccountResponse>, Status> {
        let caller = caller(&request, &[]);
        Ok(Response::new(self.connector.create_account(request.get_ref(), &caller).await?))
    }
}

#[tonic::async_trait]
impl ResourceManagerService for Services {
    async fn create_resource(
        &self,
        _: Request<CreateResourceRequest>,
    ) -> Result<Response<CreateResourceResponse>, Status> {
        Err(self.connector.refuse_create_resource().into())
    }

    async fn delete_resource(
        &self,
        _: Request<DeleteResourceRequest>,
    ) -> Result<Response<DeleteResourceResponse>, Status> {
        Err(self.connector.refuse_delete_resource().into())
    }
}

#[tonic::async_trait]
impl ResourceDeleterService for Services {
    async fn delete_resource_v2(
        &self,
        _: Request<DeleteResourceV2Request>,
    ) -> Result<Response<DeleteResourceV2Response>, Status> {
        Err(self.connector.refuse_delete_resource().into())
    }
}

#[tonic::async_trait]
impl CredentialManagerService for Services {
    async fn rotate_credential(
        &self,
        _: Request<RotateCredentialRequest>,
    ) -> Result<Response<RotateCredentialResponse>, Status> {
        Err(self.connector.refuse_rotate_credential().into())
    }

    async fn issue_credential(
        &self,
        request: Request<IssueCredentialRequest>,
    ) -> Result<Response<IssueCredentialResponse>, Status> {
        Err(self.connector.refuse_issue_credential(request.get_ref().identity_id.as_ref()).into())
    }
}
