//! The token endpoint. It authenticates clients like the real endpoint.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::DATE;
use http::{HeaderMap, Response, StatusCode};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use super::{Call, Method, Shared, State};

pub(super) async fn answer(shared: Arc<Shared>, headers: HeaderMap, body: Bytes) -> Response<String> {
    shared.until(|state| (!state.plan.holds_tokens).then_some(())).await;
    let mut state = shared.lock();
    state.calls.push(Call { method: Method::Token, task_id: String::new(), at: Instant::now(), asked: None });
    let answered = match state.plan.token_answers.pop_front() {
        Some((status, body)) => (status, body),
        None => match check(&mut state, &headers, &body) {
            Ok(()) => (200, token(&mut state)),
            Err(fault) => {
                // With a wrong clock the test expects the refusal.
                if state.plan.clock_ahead_by == 0 {
                    state.faults.push(format!("token: {fault}"));
                }
                (401, String::new())
            }
        },
    };
    let date = SystemTime::from(now(&state));
    drop(state);
    shared.changed.notify_waiters();
    let mut response = Response::new(answered.1);
    response.headers_mut().insert(DATE, httpdate::fmt_http_date(date).parse().unwrap());
    *response.status_mut() = StatusCode::from_u16(answered.0).unwrap();
    response
}

fn token(state: &mut State) -> String {
    let token = format!("token-{}", state.tokens.len());
    let mut answer =
        json!({ "access_token": token, "token_type": state.plan.token_type, "something_else": [1, 2] });
    if let Some(life) = state.plan.token_life {
        answer["expires_in"] = life.into();
    }
    state.tokens.push(token);
    answer.to_string()
}

/// The time of the double's clock.
fn now(state: &State) -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::seconds(state.plan.clock_ahead_by)
}

/// The fault of a request, if any.
fn check(state: &mut State, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    same("content type", header("content-type"), "application/x-www-form-urlencoded")?;
    same("user agent", header("user-agent"), "baton-c1-credential-provider baton-sdk/v0.25.0")?;
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    same("form", &names, &vec!["client_assertion", "client_assertion_type", "client_id", "grant_type"])?;
    let value = |at: usize| form[at].1.as_str();
    same("assertion type", value(1), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")?;
    same("client id", value(2), state.client_id.as_str())?;
    same("grant type", value(3), "client_credentials")?;

    let parts: Vec<&str> = value(0).split('.').collect();
    let &[header, claims, signature] = &parts[..] else { return Err("no JWT".to_owned()) };
    let signed = format!("{header}.{claims}");
    let signature = decoded(signature)?;
    UnparsedPublicKey::new(&ED25519, &state.public_key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "the signature is not good".to_owned())?;
    let header: Value = serde_json::from_slice(&decoded(header)?).map_err(|error| error.to_string())?;
    let nonce = header["nonce"].as_str().unwrap_or_default().to_owned();
    let mut expected = json!({ "alg": "EdDSA", "nonce": nonce });
    if let Some(id) = &state.key_id {
        expected["kid"] = id.as_str().into();
    }
    same("header", &header, &expected)?;
    let is_hex = nonce.len() == 32 && nonce.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || state.nonces.contains(&nonce) {
        return Err(format!("the nonce {nonce:?} is none, or not new"));
    }
    state.nonces.push(nonce);
    let claims: Value = serde_json::from_slice(&decoded(claims)?).map_err(|error| error.to_string())?;
    let issued = claims["iat"].as_i64().unwrap_or_default();
    let expected = json!({
        "iss": state.client_id, "sub": state.client_id, "aud": state.audience,
        "iat": issued, "nbf": issued - 120, "exp": issued + 120,
    });
    same("claims", &claims, &expected)?;
    if (now(state).unix_timestamp() - issued).abs() > 60 {
        return Err("it was not issued now".to_owned());
    }
    Ok(())
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string())
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} in place of {expected:?}")) }
}
