//! The proof of the AWS role of the function: a signed request to AWS STS that this program does not send.
//! ConductorOne sends it, and the response names the role.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use secrecy::ExposeSecret;

use crate::agent::hosted::error::HostedError;
use crate::agent::hosted::settings::Role;
use crate::proto::any;
use crate::proto::connectorapi::{SignedHeader, Sigv4SignedRequestStsGetCallerIdentity};

const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The proof as a claim of the assertion.
///
/// # Errors
/// [`HostedError::NoRole`], [`HostedError::Attestation`]
pub(super) fn attestation(role: &Role, now: SystemTime) -> Result<String, HostedError> {
    let signed = signed_request(role, now)?;
    Ok(URL_SAFE_NO_PAD.encode(any(&signed).encode_to_vec()))
}

fn signed_request(
    role: &Role,
    now: SystemTime,
) -> Result<Sigv4SignedRequestStsGetCallerIdentity, HostedError> {
    let failed = |error: &dyn std::fmt::Display| HostedError::Attestation(error.to_string());
    let (key_id, key, region) = role.whole()?;
    let token = role.session_token.as_ref().map(|token| token.expose_secret().to_owned());
    let identity = Credentials::from_keys(key_id, key.expose_secret(), token).into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let endpoint = format!("https://sts.{region}.amazonaws.com");
    let length = BODY.len().to_string();
    let given = [("content-type", CONTENT_TYPE), ("content-length", length.as_str())];
    let request =
        SignableRequest::new("POST", &endpoint, given.into_iter(), SignableBody::Bytes(BODY.as_bytes()))
            .map_err(|error| failed(&error))?;
    let (instructions, _) = sign(request, &parameters).map_err(|error| failed(&error))?.into_parts();
    let header = |key: &str, value: &str| SignedHeader { key: key.to_owned(), value: vec![value.to_owned()] };
    // Length and host are signed too; the sender adds them.
    let mut headers = vec![header("Content-Type", CONTENT_TYPE)];
    headers.extend(instructions.headers().map(|(name, value)| header(capitalized(name), value)));
    Ok(Sigv4SignedRequestStsGetCallerIdentity {
        method: "POST".to_owned(),
        endpoint,
        headers,
        body: BODY.as_bytes().to_vec(),
    })
}

/// The header spelling of Go.
fn capitalized(name: &str) -> &str {
    match name {
        "authorization" => "Authorization",
        "x-amz-date" => "X-Amz-Date",
        "x-amz-security-token" => "X-Amz-Security-Token",
        other => other,
    }
}
