//! The public keys of callers: a configured key, or a set that an issuer publishes.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::sleep;

use crate::agent::hosted::{HostedSettings, Jwks};
use crate::cli::failure::Failure;
use crate::server::lambda::{Callers, KeySet};

/// Time until keys are fetched again after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(5 * 60);

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

    /// Fetches the keys once.
    ///
    /// # Errors
    /// They cannot be fetched, or none of them is usable.
    pub(crate) async fn first(&self) -> Result<KeySet, Failure> {
        match self {
            Self::Given(signer) => given(signer),
            Self::Published(jwks) => Ok(fetched(jwks.clone()).await?.0),
        }
    }

    /// The callers with these keys. Published keys are fetched now, and again whenever they are due.
    ///
    /// # Errors
    /// The keys cannot be fetched now, or none of them is usable.
    pub(crate) async fn callers(self, settings: &HostedSettings) -> Result<Callers, Failure> {
        let callers = |keys| Callers::new(keys, &settings.issuer, &settings.subject, &settings.audience);
        match self {
            Self::Given(signer) => Ok(callers(given(&signer)?)),
            Self::Published(jwks) => kept_fresh(move || fetched(jwks.clone()), callers).await,
        }
    }
}

/// Keys, and the time until they should be fetched again.
type Fetched = Result<(KeySet, Duration), Failure>;

async fn fetched(jwks: Jwks) -> Fetched {
    let (text, kept) = jwks.fetch().await?;
    Ok((set(&text)?, kept))
}

/// Fetches the keys for `callers` now, and then whenever they are due, until the program ends.
async fn kept_fresh<F: Future<Output = Fetched> + Send>(
    fetch: impl Fn() -> F + Send + 'static,
    callers: impl FnOnce(KeySet) -> Callers,
) -> Result<Callers, Failure> {
    let (keys, kept) = fetch().await?;
    let callers = callers(keys);
    let renewed = callers.clone();
    tokio::spawn(async move { renew(kept, fetch, &renewed).await });
    Ok(callers)
}

/// Fetches keys after `wait` and whenever they are due, forever. If a fetch fails, the previous keys stay.
async fn renew<F: Future<Output = Fetched>>(mut wait: Duration, fetch: impl Fn() -> F, callers: &Callers) {
    loop {
        sleep(wait).await;
        let fetching = fetch();
        wait = match fetching.await {
            Ok((keys, kept)) => {
                callers.replace(keys);
                kept
            }
            Err(failure) => {
                tracing::warn!(
                    error = failure.message(),
                    "cannot refresh the keys of callers; the previous keys remain valid"
                );
                RETRY_INTERVAL
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use tokio::time::Instant;

    use super::*;

    /// A set with one key of this id.
    fn one_key(id: usize) -> KeySet {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let key = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k{id}","x":"{x}"}}"#);
        set(&format!(r#"{{"keys":[{key}]}}"#)).unwrap()
    }

    /// Whether the key with this id is known: a token without a signature is checked with it.
    fn knows(callers: &Callers, id: usize) -> bool {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","kid":"k{id}"}}"#));
        let refusal = callers.admit(Some(&format!("Bearer {header}.e30.AAAA"))).unwrap_err().to_string();
        !refusal.contains("no matching keys")
    }

    #[tokio::test(start_paused = true)]
    async fn published_keys_are_fetched_again_when_due_and_stay_after_a_failed_fetch() {
        let begun = Instant::now();
        let fetches = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&fetches);
        let fetch = move || {
            let mut noted = noted.lock().unwrap();
            noted.push(begun.elapsed().as_secs());
            let number = noted.len();
            async move {
                match number {
                    1 => Ok((one_key(1), Duration::from_secs(3600))),
                    2 | 3 => Err(Failure::Run(anyhow!("down"))),
                    _ => Ok((one_key(number), Duration::from_secs(600))),
                }
            }
        };
        let callers = |keys| Callers::new(keys, "issuer", "subject", "audience");
        let callers = kept_fresh(fetch, callers).await.unwrap();
        // Times in seconds before and after each fetch, and the id of the key that is valid at that time.
        for (seconds, id) in [(3599, 1), (3601, 1), (3901, 1), (4201, 4), (4799, 4), (4801, 5)] {
            sleep(Duration::from_secs(seconds).saturating_sub(begun.elapsed())).await;
            assert!(knows(&callers, id), "{seconds}");
            assert!((1..=5).filter(|other| *other != id).all(|other| !knows(&callers, other)), "{seconds}");
        }
        assert_eq!(*fetches.lock().unwrap(), [0, 3600, 3900, 4200, 4800]);
    }

    #[tokio::test]
    async fn without_the_first_keys_there_are_no_callers() {
        let fetch = || async { Err(Failure::Run(anyhow!("down"))) };
        let callers = kept_fresh(fetch, |keys| Callers::new(keys, "issuer", "subject", "audience")).await;
        assert_eq!(callers.unwrap_err().message(), "down");
    }
}
