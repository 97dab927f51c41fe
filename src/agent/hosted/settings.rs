//! Which function of ConductorOne this is, and who may call it.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use crate::agent::hosted::error::HostedError;

/// Which function of ConductorOne this is, and who may call it. `Debug` does not show the secret.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HostedSettings {
    /// Which client of ConductorOne this is; unchecked.
    #[serde(rename = "lambda-client-id")]
    pub client_id: String,
    /// The private key of the client; unchecked.
    #[serde(rename = "lambda-client-secret")]
    pub client_secret: SecretString,
    /// The public key that callers sign with, as a JSON Web Key.
    #[serde(rename = "lambda-auth-jwt-signer")]
    pub signer: Option<String>,
    /// Where the public keys are that callers sign with.
    #[serde(rename = "lambda-auth-jwt-jwks-url")]
    pub jwks_url: Option<String>,
    /// Who issues the tokens of callers.
    #[serde(rename = "lambda-auth-jwt-expected-issuer")]
    pub issuer: String,
    /// What the tokens of callers are about.
    #[serde(rename = "lambda-auth-jwt-expected-subject")]
    pub subject: String,
    /// For whom the tokens of callers are.
    #[serde(rename = "lambda-auth-jwt-expected-audience")]
    pub audience: String,
    /// What the environment alone can say. For the reader of the settings to fill in.
    #[serde(skip)]
    pub environment: FromEnvironment,
}

/// What only variables can say. `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
pub(crate) struct FromEnvironment {
    /// Where tokens are given out, in place of the host in the client's id.
    pub token_host: Option<String>,
    /// Where the configuration service answers, in place of the token host.
    pub configuration_host: Option<String>,
    /// A PEM file with more certificate authorities.
    pub authorities: Option<PathBuf>,
    /// Which role of AWS the function has.
    pub role: Role,
}

/// Temporary credentials of a role of AWS, as Lambda hands them to a function.
#[derive(Clone, Default)]
pub(crate) struct Role {
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<SecretString>,
    pub session_token: Option<SecretString>,
    pub region: Option<String>,
}

impl FromEnvironment {
    /// The variable that names the token endpoint's host.
    pub(crate) const TOKEN_HOST: &str = "BATON_LAMBDA_TOKEN_HOST";
    /// The variable that names the configuration service's host.
    pub(crate) const CONFIGURATION_HOST: &str = "BATON_LAMBDA_CONFIGURATION_HOST";
    /// The variable that names the file with more certificate authorities.
    pub(crate) const AUTHORITIES: &str = "BATON_LAMBDA_CA_CERT_PATH";
    const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
    const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
    const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
    const REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

    /// Reads the variables through `get`, which gives the value of a variable that is set, even to nothing.
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
    /// The key's id, the key and the region.
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
