//! The variables of ConductorOne's service mode: their form only, nothing is sent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::cli::doctor::report::{Check, Line};
use crate::cli::serve::CLIENT_ID as ID;
use crate::config::Sources;

const SECRET: &str = "BATON_CLIENT_SECRET";

pub(super) fn check(sources: &Sources) -> Line {
    let get = |name: &str| sources.variable(name).map(|value| value.to_string_lossy().into_owned());
    match (get(ID), get(SECRET)) {
        (None, None) => Line::skipped(Check::C1, format!("{ID} and {SECRET} are not set")),
        (Some(_), None) => alone(ID, SECRET),
        (None, Some(_)) => alone(SECRET, ID),
        (Some(id), Some(secret)) => match (host(&id), problem(&secret)) {
            (None, _) => wrong(format!("{ID} is not of the form name@host/path")),
            (_, Some(problem)) => wrong(format!("{SECRET} {problem}")),
            (Some(host), None) => Line::warning(
                Check::C1,
                format!("a well-formed client for {host}, which nobody uses"),
            )
            .means("This release does not connect to ConductorOne by itself. Only the form was looked at.")
            .fix("let an agent with this client call the connector, and unset both here"),
        },
    }
}

fn alone(given: &str, missing: &str) -> Line {
    wrong(format!("{given} is set and {missing} is not"))
}

fn wrong(found: String) -> Line {
    Line::warning(Check::C1, found)
        .means("ConductorOne would not accept this client. This release does not use it.")
        .fix("copy both anew from ConductorOne's page of the connector")
}

/// The host in `name@host[:port]/path`.
fn host(id: &str) -> Option<&str> {
    let (_, rest) = id.split_once('@')?;
    let (host, _) = rest.split_once('/')?;
    (!host.is_empty()).then_some(host)
}

/// The last part of a secret: an Ed25519 key pair as a JSON Web Key.
#[derive(Deserialize)]
struct Key {
    #[serde(rename = "kty")]
    key_type: Option<String>,
    #[serde(rename = "crv")]
    curve: Option<String>,
    #[serde(rename = "x")]
    public: Option<String>,
    #[serde(rename = "d")]
    private: Option<String>,
}

/// What is wrong with a secret, without a word of it.
fn problem(secret: &str) -> Option<&'static str> {
    let parts: Vec<&str> = secret.splitn(4, ':').collect();
    let &[_, _, version, data] = &parts[..] else { return Some("has not four parts with colons between") };
    if version != "v1" {
        return Some("is not of version v1");
    }
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(data) else { return Some("ends in something that is not base64") };
    let Ok(key) = serde_json::from_slice::<Key>(&bytes) else {
        return Some("has no key in its last part");
    };
    if key.key_type.as_deref() != Some("OKP") || key.curve.as_deref() != Some("Ed25519") {
        return Some("has a key of another kind than Ed25519");
    }
    let is_half = |half: Option<String>| {
        half.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).is_some_and(|bytes| bytes.len() == 32)
    };
    if is_half(key.public) && is_half(key.private) { None } else { Some("has a key that is not whole") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(key: &str) -> String {
        format!("secret-token:conductorone.com:v1:{}", URL_SAFE_NO_PAD.encode(key))
    }

    #[test]
    fn a_client_id_names_a_host() {
        assert_eq!(host("tall-tree-1@acme.conductor.one/pcc"), Some("acme.conductor.one"));
        assert_eq!(host("@127.0.0.1:18443/a/b@c"), Some("127.0.0.1:18443"));
        for wrong in ["", "name", "name@host", "name/host", "name@/path"] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_holds_a_whole_key() {
        let half = URL_SAFE_NO_PAD.encode([7; 32]);
        let good = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{half}","d":"{half}"}}"#);
        assert_eq!(problem(&secret(&good)), None);
        for (wrong, word) in [
            ("a:b:v1".to_owned(), "four parts"),
            ("a:b:v2:c".to_owned(), "v1"),
            ("a:b:v1:=".to_owned(), "base64"),
            (secret("no json"), "no key"),
            (secret(&good.replace("OKP", "RSA")), "another kind"),
            (secret(&good.replace("\"d\"", "\"e\"")), "not whole"),
            (secret(&good.replace(&half, "AAAA")), "not whole"),
        ] {
            assert!(problem(&wrong).is_some_and(|problem| problem.contains(word)), "{wrong}");
        }
    }
}
