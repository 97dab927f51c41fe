//! The configuration service. It encrypts with the key to which a call is bound.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use baton_retool::proto::connectorapi::connector_config_service_server::{
    ConnectorConfigService, ConnectorConfigServiceServer,
};
use baton_retool::proto::connectorapi::{
    GetConnectorConfigRequest, GetConnectorConfigResponse, GetConnectorOauthTokenRequest,
    GetConnectorOauthTokenResponse,
};
use prost_types::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use super::{Failure, Shared, State, check_proof, same};

const PATH: &str = "/c1.connectorapi.baton.v1.ConnectorConfigService/GetConnectorConfig";

/// A header of a status whose details are to be malformed.
pub(super) const MALFORMED: &str = "x-malformed";

pub(super) fn service(shared: Arc<Shared>) -> ConnectorConfigServiceServer<Service> {
    ConnectorConfigServiceServer::new(Service(shared))
}

pub(super) struct Service(Arc<Shared>);

#[tonic::async_trait]
impl ConnectorConfigService for Service {
    async fn get_connector_config(
        &self,
        request: Request<GetConnectorConfigRequest>,
    ) -> Result<Response<GetConnectorConfigResponse>, Status> {
        if self.0.lock().plan.silent {
            return std::future::pending().await;
        }
        let failure = self.0.lock().plan.failures.pop_front();
        if let Some(failure) = failure {
            return Err(failed(failure));
        }
        let mut state = self.0.lock();
        let key = check(&mut state, request.metadata()).map_err(|fault| {
            state.faults.push(format!("configuration: {fault}"));
            Status::unauthenticated(fault)
        })?;
        let asked = request.into_inner().requested_version;
        state.asked.push(asked.clone());
        let version = if asked.is_empty() { state.newest.clone() } else { asked };
        let found = state.configs.get(&version).cloned();
        let config = found.ok_or_else(|| Status::not_found("there is no such version"))?;
        let sealed = config.sealed.unwrap_or_else(|| encrypt(&key, config.settings.to_string().as_bytes()));
        Ok(Response::new(GetConnectorConfigResponse {
            config: sealed,
            last_updated: Some(Timestamp { seconds: 1_767_323_045, nanos: 6_000_000 }),
            config_version: config.version,
            served_policy_envelope: config.policy,
        }))
    }

    async fn get_connector_oauth_token(
        &self,
        _: Request<GetConnectorOauthTokenRequest>,
    ) -> Result<Response<GetConnectorOauthTokenResponse>, Status> {
        self.0.lock().faults.push("the function requested an OAuth token for Retool".to_owned());
        Err(Status::unimplemented("not here"))
    }
}

fn failed(failure: Failure) -> Status {
    let mut status = Status::unauthenticated("scripted failure");
    if failure == Failure::Malformed {
        status.metadata_mut().insert(MALFORMED, MetadataValue::from_static("1"));
    }
    status
}

/// The public key to which the call is bound.
fn check(state: &mut State, metadata: &MetadataMap) -> Result<Vec<u8>, String> {
    let header = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let newest = state.tokens.last().cloned().unwrap_or_default();
    let kind = if state.plan.token_type.eq_ignore_ascii_case("dpop") { "DPoP" } else { "Bearer" };
    same("authorization", header("authorization"), format!("{kind} {newest}").as_str())?;
    let agent = format!("baton-lambda/{} v0.25.0 ", state.client_id);
    if !header("user-agent").starts_with(&agent) {
        return Err(format!("the user agent is {:?}", header("user-agent")));
    }
    let url = format!("https://{}{PATH}", state.configuration_host);
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&newest));
    check_proof(state, header("dpop"), &url, &json!({ "ath": digest }))
}

pub(super) fn encrypt(key: &[u8], plain: &[u8]) -> Vec<u8> {
    let field = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let wire = [field(b"ssh-ed25519"), field(key)].concat();
    let recipient: age::ssh::Recipient =
        format!("ssh-ed25519 {}", STANDARD.encode(wire)).parse().expect("an SSH key");
    age::encrypt(&recipient, plain).unwrap()
}
