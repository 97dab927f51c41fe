//! The public keys of callers: a configured key, or a set that an issuer publishes.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::sleep;

use crate::agent::hosted::{HostedSettings, Jwks};
use crate::cli::failure::Failure;
use crate::server::lambda::{Callers, KeySet};

/// Time until keys are fetched again: after the start, and after a failure.
const AGAIN: Duration = Duration::from_secs(5 * 60);

/// The source of the keys.
pub(crate) enum Keys {
    /// One key, as a JSON Web Key.
    Given(String),
    /// The keys at a URL.
    Published(Jwks),
}

impl Keys {
    /// The keys that the settings name.
    ///
    /// # Errors
    /// There is not exactly one source, or it is malformed.
    pub(crate) fn new(settings: &HostedSettings) -> Result<Self, Failure> {
        match (&settings.signer, &settings.jwks_url) {
            (Some(signer), None) => given(signer).map(|_| Self::Given(signer.clone())),
            (None, Some(url)) => {
                let jwks = Jwks::new(url)?;
                if jwks.is_plain() {
                    tracing::warn!(
                        "lambda-auth-jwt-jwks-url does not use TLS: anyone who can change the response can make calls; use https"
                    );
                }
                Ok(Self::Published(jwks))
            }
            _ => Err(Failure::Usage(anyhow!(
                "lambda-run: must specify exactly one of lambda-auth-jwt-signer or lambda-auth-jwt-jwks-url"
            ))),
        }
    }

    /// Returns the keys at the start.
    ///
    /// # Errors
    /// They cannot be fetched, or none of them is usable.
    pub(crate) async fn first(&self) -> Result<KeySet, Failure> {
        match self {
            Self::Given(signer) => given(signer),
            Self::Published(jwks) => {
                let (text, _) = jwks.fetch().await?;
                set(&text)
            }
        }
    }

    /// Keeps published keys up to date. If a fetch fails, the previous keys stay.
    pub(crate) fn keep_fresh(self, callers: Callers) {
        let Self::Published(jwks) = self else { return };
        let fetch = async move || {
            let (text, kept) = jwks.fetch().await?;
            Ok((set(&text)?, kept))
        };
        tokio::spawn(async move { renew(fetch, |keys| callers.replace(keys)).await });
    }
}

/// Fetches keys whenever they are due, forever. `fetch` returns the time until the next fetch.
async fn renew<K>(fetch: impl AsyncFn() -> Result<(K, Duration), Failure>, replace: impl Fn(K)) {
    let mut wait = AGAIN;
    loop {
        sleep(wait).await;
        wait = match fetch().await {
            Ok((keys, kept)) => {
                replace(keys);
                kept
            }
            Err(failure) => {
                tracing::warn!(
                    error = failure.message(),
                    "cannot refresh the keys of callers; the previous keys remain valid"
                );
                AGAIN
            }
        };
    }
}

fn given(signer: &str) -> Result<KeySet, Failure> {
    KeySet::of_key(signer).map_err(|error| Failure::Usage(anyhow!("lambda-auth-jwt-signer: {error}")))
}

fn set(text: &str) -> Result<KeySet, Failure> {
    KeySet::of_set(text).map_err(|error| Failure::Run(anyhow!("lambda-auth-jwt-jwks-url: {error}")))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn due_keys_are_renewed_and_stay_after_a_failed_fetch() {
        let begun = Instant::now();
        let fetched = RefCell::new(Vec::new());
        let replaced = RefCell::new(Vec::new());
        let fetch = async || {
            fetched.borrow_mut().push(begun.elapsed().as_secs());
            match fetched.borrow().len() {
                1 => Ok((1, Duration::from_secs(3600))),
                2 | 3 => Err(Failure::Run(anyhow!("down"))),
                number => Ok((number, Duration::from_secs(600))),
            }
        };
        let renewal = renew(fetch, |keys| replaced.borrow_mut().push(keys));
        let ended = timeout(Duration::from_secs(5_000), renewal).await;
        assert!(ended.is_err(), "it has no end");
        assert_eq!(fetched.into_inner(), [300, 3900, 4200, 4500]);
        assert_eq!(replaced.into_inner(), [1, 4]);
    }
}
