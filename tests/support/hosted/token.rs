//! The token endpoint for hosted connectors.

use std::sync::Arc;

use axum::body::Bytes;
use baton_retool::proto::connectorapi::Sigv4SignedRequestStsGetCallerIdentity;
use baton_retool::proto::unpack;
use http::{HeaderMap, Response, StatusCode};
use prost::Message;
use prost_types::Any;
use serde_json::json;

use super::{Shared, State, check_now, check_proof, decoded, same, verified};

pub(super) async fn answer(shared: Arc<Shared>, headers: HeaderMap, body: Bytes) -> Response<String> {
    let mut state = shared.lock();
    state.token_requests += 1;
    let (status, nonce, body) = match state.plan.answers.pop_front() {
        Some((status, nonce, body)) => (status, nonce.map(str::to_owned), body.to_owned()),
        None => match check(&mut state, &headers, &body) {
            Ok(true) => (200, None, token(&mut state)),
            Ok(false) => {
                let nonce = state.plan.nonce.clone();
                (400, nonce, json!({ "error": "use_dpop_nonce" }).to_string())
            }
            Err(fault) => {
                state.faults.push(format!("token: {fault}"));
                (401, None, json!({ "error": "invalid_client" }).to_string())
            }
        },
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(nonce) = nonce {
        response.headers_mut().insert("DPoP-Nonce", nonce.parse().unwrap());
    }
    response
}

fn token(state: &mut State) -> String {
    let token = format!("token-{}", state.tokens.len());
    let mut answer = json!({ "access_token": token, "token_type": state.plan.token_type, "more": [1] });
    if let Some(life) = state.plan.token_life {
        answer["expires_in"] = life.into();
    }
    state.tokens.push(token);
    answer.to_string()
}

/// Whether the request has the required nonce.
///
/// # Errors
/// Another fault of the request.
fn check(state: &mut State, headers: &HeaderMap, body: &[u8]) -> Result<bool, String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    same("content type", header("content-type"), "application/x-www-form-urlencoded")?;
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    same("form", &names, &vec!["client_assertion", "client_assertion_type", "client_id", "grant_type"])?;
    let value = |at: usize| form[at].1.as_str();
    same("assertion type", value(1), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")?;
    same("client id", value(2), state.client_id.as_str())?;
    same("grant type", value(3), "client_credentials")?;

    let (header, claims) = verified(value(0), &state.client_key)?;
    let mut expected = json!({ "alg": "EdDSA" });
    if let Some(id) = &state.client_key_id {
        expected["kid"] = id.as_str().into();
    }
    same("header", &header, &expected)?;
    let at = claims["iat"].as_i64().unwrap_or_default();
    check_now(at)?;
    let attestation = claims["id_att"].as_str().unwrap_or_default().to_owned();
    let expected = json!({
        "iss": state.client_id, "sub": state.client_id, "aud": "127.0.0.1",
        "iat": at, "nbf": at - 60, "exp": at + 120, "id_att": attestation,
    });
    same("claims", &claims, &expected)?;
    check_attestation(&attestation)?;

    let url = format!("https://{}/auth/v1/token", state.address);
    let proof = headers.get("dpop").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let has_nonce = |state: &State| {
        let claims = proof.split('.').nth(1).map(decoded);
        let claims = claims.and_then(Result::ok).and_then(|claims| serde_json::from_slice(&claims).ok());
        let nonce =
            claims.and_then(|claims: serde_json::Value| Some(claims.get("nonce")?.as_str()?.to_owned()));
        nonce == state.plan.nonce
    };
    if !has_nonce(state) {
        return check_proof(state, proof, &url, &json!({})).map(|_| false);
    }
    let more = state.plan.nonce.as_ref().map_or(json!({}), |nonce| json!({ "nonce": nonce }));
    check_proof(state, proof, &url, &more).map(|_| true)
}

fn check_attestation(text: &str) -> Result<(), String> {
    let packed = Any::decode(&decoded(text)?[..]).map_err(|error| error.to_string())?;
    let request: Sigv4SignedRequestStsGetCallerIdentity =
        unpack(&packed).ok_or("another message")?.map_err(|error| error.to_string())?;
    same("method", request.method.as_str(), "POST")?;
    same("endpoint", request.endpoint.as_str(), "https://sts.eu-central-1.amazonaws.com")?;
    same("body", &request.body[..], b"Action=GetCallerIdentity&Version=2011-06-15")?;
    let mut names: Vec<&str> = request.headers.iter().map(|header| header.key.as_str()).collect();
    names.sort_unstable();
    same("headers", &names, &vec!["Authorization", "Content-Type", "X-Amz-Date", "X-Amz-Security-Token"])
}
