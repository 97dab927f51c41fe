//! The public keys that callers sign with: one that is given, or those that an issuer publishes.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::sleep;

use crate::agent::hosted::{HostedSettings, Jwks};
use crate::cli::failure::Failure;
use crate::server::lambda::{Callers, KeySet};

/// How long after a document could not be fetched it is asked for again.
const AGAIN: Duration = Duration::from_secs(5 * 60);

/// Where the keys come from.
pub(crate) enum Keys {
    /// One that is given, as a JSON Web Key.
    Given(String),
    /// Those that an issuer publishes.
    Published(Jwks),
}

impl Keys {
    /// The keys that the settings name.
    ///
    /// # Errors
    /// There is not exactly one source of them, or it cannot be right.
    pub(crate) fn new(settings: &HostedSettings) -> Result<Self, Failure> {
        match (&settings.signer, &settings.jwks_url) {
            (Some(signer), None) => given(signer).map(|_| Self::Given(signer.clone())),
            (None, Some(url)) => Ok(Self::Published(Jwks::new(url)?)),
            _ => Err(Failure::Usage(anyhow!(
                "lambda-run: must specify exactly one of lambda-auth-jwt-signer or lambda-auth-jwt-jwks-url"
            ))),
        }
    }

    /// The keys to begin with.
    ///
    /// # Errors
    /// They cannot be had, or none of them can be used.
    pub(crate) async fn first(&self) -> Result<KeySet, Failure> {
        match self {
            Self::Given(signer) => given(signer),
            Self::Published(jwks) => {
                let (text, _) = jwks.fetch().await?;
                set(&text)
            }
        }
    }

    /// Fetches published keys again whenever they are old; former ones stay while that fails.
    pub(crate) fn keep_fresh(self, callers: Callers) {
        let Self::Published(jwks) = self else { return };
        tokio::spawn(async move {
            let mut wait = AGAIN;
            loop {
                sleep(wait).await;
                let fetched = match jwks.fetch().await {
                    Ok((text, kept)) => set(&text).map(|set| (set, kept)),
                    Err(error) => Err(error.into()),
                };
                wait = match fetched {
                    Ok((set, kept)) => {
                        callers.replace(set);
                        kept
                    }
                    Err(failure) => {
                        tracing::warn!(error = failure.message(), "the keys of callers are not renewed");
                        AGAIN
                    }
                };
            }
        });
    }
}

fn given(signer: &str) -> Result<KeySet, Failure> {
    KeySet::of_key(signer).map_err(|error| Failure::Usage(anyhow!("lambda-auth-jwt-signer: {error}")))
}

fn set(text: &str) -> Result<KeySet, Failure> {
    KeySet::of_set(text).map_err(|error| Failure::Run(anyhow!("lambda-auth-jwt-jwks-url: {error}")))
}
