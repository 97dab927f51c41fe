//! The settings of a hosted connector: its client credentials of ConductorOne, and the tokens of its callers.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use crate::agent::hosted::error::HostedError;

/// The client at ConductorOne, and the expected tokens of callers. `Debug` does not show the secret.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HostedSettings {
    /// The id of the client; not validated.
    #[serde(rename = "lambda-client-id")]
    pub client_id: String,
    /// The private key of the client; not validated.
    #[serde(rename = "lambda-client-secret")]
    pub client_secret: SecretString,
    /// The public key of callers, as a JSON Web Key.
    #[serde(rename = "lambda-auth-jwt-signer")]
    pub signer: Option<String>,
    /// The URL of the public keys of callers.
    #[serde(rename = "lambda-auth-jwt-jwks-url")]
    pub jwks_url: Option<String>,
    /// The issuer of the tokens of callers.
    #[serde(rename = "lambda-auth-jwt-expected-issuer")]
    pub issuer: String,
    /// The subject of the tokens of callers.
    #[serde(rename = "lambda-auth-jwt-expected-subject")]
    pub subject: String,
    /// The audience of the tokens of callers.
    #[serde(rename = "lambda-auth-jwt-expected-audience")]
    pub audience: String,
    /// Values that only variables can set. The reader of the settings fills them in.
    #[serde(skip)]
    pub environment: FromEnvironment,
}

/// Values that only variables can set. `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
pub(crate) struct FromEnvironment {
    /// The host of the token endpoint, instead of the one in the client's id.
    pub token_host: Option<String>,
    /// The host of the configuration service, instead of the token endpoint's.
    pub configuration_host: Option<String>,
    /// A PEM file with additional certificate authorities.
    pub authorities: Option<PathBuf>,
    /// The credentials of the AWS role.
    pub role: Role,
}

/// Temporary credentials of an AWS role, which Lambda sets.
#[derive(Clone, Default)]
pub(crate) struct Role {
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<SecretString>,
    pub session_token: Option<SecretString>,
    pub region: Option<String>,
}

impl FromEnvironment {
    /// The variable with the host of the token endpoint.
    pub(crate) const TOKEN_HOST: &str = "BATON_LAMBDA_TOKEN_HOST";
    /// The variable with the host of the configuration service.
    pub(crate) const CONFIGURATION_HOST: &str = "BATON_LAMBDA_CONFIGURATION_HOST";
    /// The variable with the file of additional certificate authorities.
    pub(crate) const AUTHORITIES: &str = "BATON_LAMBDA_CA_CERT_PATH";
    const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
    const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
    const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
    const REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

    /// Reads the variables. `get` returns the value of a variable that is set, even if it is empty.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let filled = |name: &str| get(name).filter(|value| !value.is_empty());
        Self {
            token_host: get(Self::TOKEN_HOST),
            configuration_host: get(Self::CONFIGURATION_HOST),
            authorities: filled(Self::AUTHORITIES).map(PathBuf::from),
            role: Role {
                access_key_id: filled(Self::ACCESS_KEY_ID),
                secret_access_key: filled(Self::SECRET_ACCESS_KEY).map(SecretString::from),
                session_token: filled(Self::SESSION_TOKEN).map(SecretString::from),
                region: Self::REGION.into_iter().find_map(filled),
            },
        }
    }
}

impl Role {
    /// Returns the key id, the secret key and the region.
    ///
    /// # Errors
    /// [`HostedError::NoRole`] names the first variable that is missing.
    pub(super) fn whole(&self) -> Result<(&str, &SecretString, &str), HostedError> {
        let missing = HostedError::NoRole;
        Ok((
            self.access_key_id.as_deref().ok_or(missing(FromEnvironment::ACCESS_KEY_ID))?,
            self.secret_access_key.as_ref().ok_or(missing(FromEnvironment::SECRET_ACCESS_KEY))?,
            self.region.as_deref().ok_or(missing(FromEnvironment::REGION[0]))?,
        ))
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("region", &self.region).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_region_comes_from_the_first_variable_that_is_not_empty() {
        let region = |region: Option<&str>, default: Option<&str>| {
            let get = |name: &str| match name {
                "AWS_REGION" => region.map(str::to_owned),
                "AWS_DEFAULT_REGION" => default.map(str::to_owned),
                _ => None,
            };
            FromEnvironment::read(get).role.region
        };
        assert_eq!(region(Some("eu-west-1"), Some("us-east-1")).unwrap(), "eu-west-1");
        assert_eq!(region(Some(""), Some("us-east-1")).unwrap(), "us-east-1");
        assert_eq!(region(None, Some("us-east-1")).unwrap(), "us-east-1");
        assert_eq!(region(None, Some("")), None);
    }
}
