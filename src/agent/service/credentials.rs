//! The credentials of a ConductorOne client: its id, which names the host, and its secret, which is a key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Deserialize;

use crate::agent::service::api_host::ApiHost;

/// The reason why an id or a secret is invalid. No message contains a part of the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// The id has an invalid form.
    #[error(
        "invalid client id: {0}; it has the form name@host/path: copy BATON_CLIENT_ID again from ConductorOne's page of the connector"
    )]
    Id(String),
    /// The secret has an invalid form.
    #[error(
        "invalid client secret: it {0}; copy BATON_CLIENT_SECRET again from ConductorOne's page of the connector"
    )]
    Secret(&'static str),
}

/// The id of a client: `name@host[:port]/rest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientId {
    text: String,
    name: String,
    host: ApiHost,
}

impl ClientId {
    /// Parses an id. The name and the part after the host may be empty.
    ///
    /// # Errors
    /// [`CredentialsError::Id`]
    pub(crate) fn parse(text: &str) -> Result<Self, CredentialsError> {
        let wrong = |problem: &str| CredentialsError::Id(problem.to_owned());
        // A Secret that is created from a file may end with a newline.
        let text = text.trim();
        let (name, rest) = text.split_once('@').ok_or_else(|| wrong("it has no @"))?;
        let (host, _) = rest.split_once('/').ok_or_else(|| wrong("it has no / after the host"))?;
        let host = ApiHost::parse(host).map_err(|problem| wrong(&problem.to_string()))?;
        Ok(Self { text: text.to_owned(), name: name.to_owned(), host })
    }

    /// The whole id, which is the OAuth client id.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the host.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The host of the API, unless an environment variable overrides it.
    pub(crate) fn host(&self) -> &ApiHost {
        &self.host
    }
}

/// The key that authenticates the client.
#[derive(Clone)]
pub(crate) struct ClientKey {
    /// Seed and public key, 32 bytes each.
    pair: SecretSlice<u8>,
    /// ConductorOne's id of the key, if any.
    id: Option<String>,
}

/// The last part of a secret: an Ed25519 key pair as a JSON Web Key.
#[derive(Deserialize)]
struct Jwk {
    #[serde(rename = "kty")]
    key_type: Option<String>,
    #[serde(rename = "crv")]
    curve: Option<String>,
    #[serde(rename = "x")]
    public: Option<String>,
    #[serde(rename = "d")]
    private: Option<String>,
    #[serde(rename = "kid")]
    id: Option<String>,
}

impl ClientKey {
    /// Parses a secret: four parts separated by colons, where the third is `v1` and the last is the key.
    ///
    /// # Errors
    /// [`CredentialsError::Secret`]
    pub(crate) fn parse(secret: &SecretString) -> Result<Self, CredentialsError> {
        let wrong = CredentialsError::Secret;
        let parts: Vec<&str> = secret.expose_secret().trim().splitn(4, ':').collect();
        let &[_, _, version, data] = &parts[..] else {
            return Err(wrong("does not have four parts separated by colons"));
        };
        if version != "v1" {
            return Err(wrong("is not of version v1"));
        }
        let bytes = decoded(data).ok_or(wrong("does not end in URL-safe base64 without padding"))?;
        let jwk: Jwk =
            serde_json::from_slice(&bytes).map_err(|_| wrong("does not contain a JSON Web Key"))?;
        if jwk.key_type.as_deref() != Some("OKP") || jwk.curve.as_deref() != Some("Ed25519") {
            return Err(wrong("contains a key that is not an Ed25519 key"));
        }
        let half = |half: Option<String>| half.and_then(|text| decoded(&text));
        let (Some(seed), Some(public)) = (half(jwk.private), half(jwk.public)) else {
            return Err(wrong("contains an incomplete key"));
        };
        Ed25519KeyPair::from_seed_and_public_key(&seed, &public)
            .map_err(|_| wrong("contains a key whose private and public half do not match"))?;
        Ok(Self { pair: SecretSlice::from([seed, public].concat()), id: jwk.id })
    }

    /// Seed and public key, 32 bytes each.
    pub(crate) fn pair(&self) -> &[u8] {
        self.pair.expose_secret()
    }

    /// ConductorOne's id of the key, if any.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Decodes unpadded base64 for URLs. Ignores line breaks, which copying may add.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|letter| !matches!(letter, '\r' | '\n')).collect();
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use ring::signature::KeyPair;

    use super::*;

    /// A secret that contains a JSON Web Key.
    fn around(key: &str) -> SecretString {
        format!("secret-token:conductorone.com:v1:{}", URL_SAFE_NO_PAD.encode(key)).into()
    }

    fn halves() -> (String, String) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        (URL_SAFE_NO_PAD.encode([7; 32]), URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()))
    }

    fn jwk(more: &str) -> String {
        let (private, public) = halves();
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{public}","d":"{private}"{more}}}"#)
    }

    /// A key with an optional id.
    pub(crate) fn key(id: Option<&str>) -> ClientKey {
        let id = id.map(|id| format!(r#","kid":"{id}""#)).unwrap_or_default();
        ClientKey::parse(&around(&jwk(&id))).unwrap()
    }

    #[test]
    fn parses_the_name_and_host_of_a_client_id() {
        for (text, name, host) in [
            ("tall-tree-1@acme.conductor.one/pcc", "tall-tree-1", "acme.conductor.one"),
            ("@127.0.0.1:18443/a/b@c", "", "127.0.0.1:18443"),
            ("n@h/", "n", "h"),
        ] {
            let id = ClientId::parse(&format!(" {text}\n")).unwrap();
            assert_eq!((id.as_str(), id.name(), id.host().to_string().as_str()), (text, name, host));
        }
        for wrong in ["", "name", "name@host", "name/host", "name@/path", "name@host:port/x"] {
            let error = ClientId::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("invalid client id: ") && error.contains("BATON_CLIENT_ID"), "{error}");
        }
    }

    #[test]
    fn accepts_only_a_secret_with_a_complete_key() {
        assert_eq!(key(Some("k1")).id(), Some("k1"));
        assert_eq!((key(None).id(), key(None).pair().len()), (None, 64));
        let good = jwk("");
        let (private, public) = halves();
        let text = around(&good).expose_secret().to_owned();
        let broken = format!(" {}\r\n{}\n ", &text[..60], &text[60..]);
        assert!(ClientKey::parse(&broken.into()).is_ok());
        for (wrong, word) in [
            ("a:b:v1".into(), "four parts"),
            ("a:b:v2:c".into(), "v1"),
            ("a:b:v1:=".into(), "base64"),
            (format!("{text}=").into(), "base64"),
            (around("no json"), "JSON Web Key"),
            (around(&good.replace("OKP", "RSA")), "not an Ed25519 key"),
            (around(&good.replace("Ed25519", "P-256")), "not an Ed25519 key"),
            (around(&good.replace("\"d\"", "\"e\"")), "incomplete key"),
            (around(&good.replace("\"x\"", "\"e\"")), "incomplete key"),
            (around(&good.replace(&private, "AAAA")), "do not match"),
            (around(&good.replace(&public, &private)), "do not match"),
        ] {
            let error = ClientKey::parse(&wrong).unwrap_err().to_string();
            assert!(error.starts_with("invalid client secret: ") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", key(Some("k1")));
        assert!(shown.contains("k1") && !shown.contains('7'), "{shown}");
    }
}
