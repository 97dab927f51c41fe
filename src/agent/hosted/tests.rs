#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use prost::Message;
use prost_types::Any;
use ring::{digest, hmac};
use serde_json::{Value, json};
use time::macros::datetime;

use crate::agent::hosted::attestation::attestation;
use crate::agent::hosted::dpop::Proof;
use crate::agent::hosted::egress::{EgressPolicy, Verdict};
use crate::agent::hosted::error::HostedError;
use crate::agent::hosted::process_key::ProcessKey;
use crate::agent::hosted::settings::Role;
use crate::proto::connectorapi::{
    EgressMode, EgressSection, ServedPolicyEnvelope, Sigv4SignedRequestStsGetCallerIdentity,
};
use crate::proto::unpack;

fn counting() -> ProcessKey {
    ProcessKey::of_seed(std::array::from_fn(|at| at as u8)).unwrap()
}

#[test]
fn decrypts_a_configuration_that_the_go_sdk_encrypted() {
    const SEALED: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNzaC1lZDI1NTE5IGxibXNvQSA0alhkZVpNK0gxY2RJcUNlRkVhaVc2ZUV6cUUrdnEyYngrL2xWcUZlTVZnClNNc0c4K29DT3pPcHJqbys0SGtYYWZDMWhSVFJ5MjZFRkIxUGtzWU5BZnMKLS0tIERheWEvbXFINU14WnB5bmFEZXhZSkh1dFNGZ0JtWlluSGRlNzE3ZU16akkKio0U8tglnlYwHaJUnAWBceAB6vIqub88jD5FKrMSvtdAQwsBi/atCKFw3uLl94LoDi37zQ==";
    let sealed = STANDARD.decode(SEALED).unwrap();
    assert_eq!(counting().open(&sealed).unwrap(), br#"{"greeting":"hello"}"#);
    let x = match serde_json::to_value(counting().jwk()).unwrap() {
        Value::Object(mut jwk) => jwk.remove("x").unwrap(),
        other => panic!("{other}"),
    };
    let public = URL_SAFE_NO_PAD.decode(x.as_str().unwrap()).unwrap();
    let hex: String = public.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8");

    let other = ProcessKey::of_seed([7; 32]).unwrap();
    assert!(matches!(other.open(&sealed), Err(HostedError::Sealed(_))));
    assert!(matches!(counting().open(&sealed[..sealed.len() - 1]), Err(HostedError::Sealed(_))));
    assert!(matches!(counting().open(b""), Err(HostedError::Sealed(_))));
    let shown = format!("{:?}", counting());
    assert!(shown.len() < 30, "{shown}");
}

#[test]
fn a_proof_contains_the_request_the_key_and_the_token() {
    let now = datetime!(2026-01-02 03:04:05 UTC);
    let url = "https://h:1/auth/v1/token";
    let part =
        |text: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap() };
    let signed = Proof { url, nonce: Some("n1"), token: None }.signed(&counting(), now).unwrap();
    let [header, claims, _] = signed.split('.').collect::<Vec<_>>()[..] else { panic!("{signed}") };
    assert_eq!(
        part(header),
        json!({
            "alg": "EdDSA", "typ": "dpop+jwt",
            "jwk": {
                "use": "sig", "kty": "OKP", "kid": "key", "crv": "Ed25519", "alg": "EdDSA",
                "x": "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg",
            },
        })
    );
    let mut claims = part(claims);
    let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(jti.as_str().unwrap().len(), 36);
    let at = now.unix_timestamp();
    let expected =
        json!({ "iat": at, "nbf": at - 30, "exp": at + 300, "htm": "POST", "htu": url, "nonce": "n1" });
    assert_eq!(claims, expected);

    let signed = Proof { url, nonce: None, token: Some("abc") }.signed(&counting(), now).unwrap();
    let claims = part(signed.split('.').nth(1).unwrap());
    // The digest of "abc", the example in the SHA-256 standard.
    assert_eq!(claims["ath"], "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    assert_eq!(claims.get("nonce"), None);
}

/// The signature of version 4 of AWS for the request of the test below, computed from its parts.
fn signature(session: Option<&str>) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let digest = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let (token_line, token_name) = match session {
        Some(token) => (format!("x-amz-security-token:{token}\n"), ";x-amz-security-token"),
        None => (String::new(), ""),
    };
    let payload = digest("Action=GetCallerIdentity&Version=2011-06-15");
    let canonical = format!(
        "POST\n/\n\ncontent-length:43\n\
         content-type:application/x-www-form-urlencoded; charset=utf-8\n\
         host:sts.eu-west-1.amazonaws.com\nx-amz-date:20260102T030405Z\n{token_line}\n\
         content-length;content-type;host;x-amz-date{token_name}\n{payload}"
    );
    let scope = "20260102/eu-west-1/sts/aws4_request";
    let text = format!("AWS4-HMAC-SHA256\n20260102T030405Z\n{scope}\n{}", digest(&canonical));
    let first = b"AWS4wJalrXUtnFEMI".to_vec();
    let key =
        ["20260102", "eu-west-1", "sts", "aws4_request"].iter().fold(first, |key, part| mac(&key, part));
    hex(&mac(&key, &text))
}

#[test]
fn proves_the_role_with_a_signed_request_to_sts() {
    let role = Role {
        access_key_id: Some("AKIDEXAMPLE".to_owned()),
        secret_access_key: Some("wJalrXUtnFEMI".into()),
        session_token: Some("session".into()),
        region: Some("eu-west-1".to_owned()),
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    let claim = attestation(&role, now).unwrap();
    let packed = Any::decode(&URL_SAFE_NO_PAD.decode(claim).unwrap()[..]).unwrap();
    assert_eq!(
        packed.type_url,
        "type.googleapis.com/c1.connectorapi.baton.v1.Sigv4SignedRequestSTSGetCallerIdentity"
    );
    let request: Sigv4SignedRequestStsGetCallerIdentity = unpack(&packed).unwrap().unwrap();
    assert_eq!((request.method.as_str(), request.body.len()), ("POST", 43));
    assert_eq!(request.endpoint, "https://sts.eu-west-1.amazonaws.com");
    let value = |name: &str| {
        let found = request.headers.iter().find(|header| header.key == name);
        found.map(|header| header.value.join(",")).unwrap_or_default()
    };
    assert_eq!(value("Content-Type"), "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(value("X-Amz-Date"), "20260102T030405Z");
    assert_eq!(value("X-Amz-Security-Token"), "session");
    let authorization = value("Authorization");
    let signed = "SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-security-token, ";
    assert!(authorization.contains(signed), "{authorization}");
    assert!(authorization.contains("Credential=AKIDEXAMPLE/20260102/eu-west-1/sts/aws4_request"));
    assert_eq!(request.headers.len(), 4);
    assert_eq!(authorization.rsplit("Signature=").next().unwrap(), signature(Some("session")));

    // Without a session token neither the list nor the signature has its header.
    let plain = Role { session_token: None, ..role.clone() };
    let packed =
        Any::decode(&URL_SAFE_NO_PAD.decode(attestation(&plain, now).unwrap()).unwrap()[..]).unwrap();
    let request: Sigv4SignedRequestStsGetCallerIdentity = unpack(&packed).unwrap().unwrap();
    assert_eq!(request.headers.len(), 3);
    let authorization = request.headers.iter().find(|header| header.key == "Authorization").unwrap();
    let authorization = &authorization.value[0];
    assert!(authorization.contains("SignedHeaders=content-length;content-type;host;x-amz-date, "));
    assert_eq!(authorization.rsplit("Signature=").next().unwrap(), signature(None));

    let nobody = Role { region: None, ..role };
    assert!(matches!(attestation(&nobody, now), Err(HostedError::NoRole("AWS_REGION"))));
    assert!(!format!("{nobody:?}").contains("wJalr"));
}

fn envelope(mode: EgressMode, hosts: &[&str]) -> ServedPolicyEnvelope {
    ServedPolicyEnvelope {
        envelope_version: 1,
        config_version: "cv-1".to_owned(),
        egress: Some(EgressSection {
            schema_version: 1,
            https_only: true,
            allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            mode: mode.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn a_policy_allows_the_hosts_that_it_names() {
    let policy = EgressPolicy::of(&envelope(EgressMode::Enforce, &["API.Example.com."]), "cv-1");
    assert_eq!(policy.connection("api.example.com"), Verdict::Allowed);
    assert_eq!(policy.connection("API.EXAMPLE.COM."), Verdict::Allowed);
    assert_eq!(policy.connection("db.example.com"), Verdict::Refused);
    assert_eq!(policy.connection("10.0.0.1"), Verdict::Refused);
    assert_eq!(policy.http("api.example.com", true), Verdict::Allowed);
    assert_eq!(policy.http("api.example.com", false), Verdict::Refused);
    for mode in [EgressMode::Report, EgressMode::Unspecified] {
        let policy = EgressPolicy::of(&envelope(mode, &["a.example.com", "10.0.0.1", "x.test:443"]), "cv-1");
        assert_eq!(policy.connection("a.example.com"), Verdict::Allowed);
        assert_eq!(policy.connection("10.0.0.1"), Verdict::Reported);
        assert_eq!(policy.connection("x.test"), Verdict::Reported);
        assert_eq!(policy.http("a.example.com", false), Verdict::Reported);
    }
}

#[test]
fn an_unsupported_policy_allows_nothing() {
    let good = envelope(EgressMode::Enforce, &["a.example.com"]);
    let mut wrong = Vec::new();
    for entry in ["", "*.example.com", "a.example.com:443", "a/b", "10.0.0.1", "::1", "[::1]"] {
        wrong.push(envelope(EgressMode::Enforce, &["a.example.com", entry]));
    }
    wrong.push(ServedPolicyEnvelope { envelope_version: 2, ..good.clone() });
    wrong.push(ServedPolicyEnvelope { config_version: String::new(), ..good.clone() });
    wrong.push(ServedPolicyEnvelope { config_version: "cv-2".to_owned(), ..good.clone() });
    wrong.push(ServedPolicyEnvelope { egress: None, ..good.clone() });
    let mut report = envelope(EgressMode::Report, &["a.example.com"]);
    report.egress.as_mut().unwrap().schema_version = 2;
    wrong.push(report);
    for envelope in wrong {
        let policy = EgressPolicy::of(&envelope, "cv-1");
        assert_eq!(policy.connection("a.example.com"), Verdict::Refused, "{envelope:?}");
    }
    assert_eq!(EgressPolicy::of(&good, "").connection("a.example.com"), Verdict::Refused);
    assert_eq!(EgressPolicy::of(&good, "cv-1").connection("a.example.com"), Verdict::Allowed);
}
