//! Bearer tokens: who has none of ours learns nothing but that.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::{Request, Response, header};
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::proto::log_text::logged_in_full;
use crate::server::transport::HEALTH;

/// The accepted tokens; any of them opens, so that one can be replaced while the other still works.
#[derive(Clone)]
pub(crate) struct Tokens {
    accepted: Arc<ArcSwap<Vec<SecretString>>>,
}

/// Why a token file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("auth-token-file: {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no token, or one that is easily guessed.
    #[error(
        "auth-token-file: {} must hold one token a line, each of at least {SHORTEST} visible ASCII characters; lines that begin with # are passed over",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
    },
}

/// Shortest accepted token in characters.
const SHORTEST: usize = 16;
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

impl Tokens {
    /// The tokens in the file, one a line, read again when the file changes.
    ///
    /// # Errors
    /// [`TokenError`] when the file is of no use to begin with; later the former tokens stay.
    pub(crate) fn watch(path: PathBuf) -> Result<Self, TokenError> {
        let mut stamp = stamp(&path);
        let mut warned = stamp;
        let accepted = Arc::new(ArcSwap::from_pointee(read(&path)?));
        let watched = Arc::downgrade(&accepted);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(accepted) = watched.upgrade() else { return };
                let now = self::stamp(&path);
                if now == stamp {
                    continue;
                }
                match read(&path) {
                    Ok(tokens) => {
                        let count = tokens.len();
                        accepted.store(Arc::new(tokens));
                        stamp = now;
                        tracing::info!(count, "took up changed tokens");
                    }
                    // The file may be half written: one line says so until it changes again.
                    Err(error) if warned != now => {
                        tracing::warn!(%error, "kept the former tokens");
                        warned = now;
                    }
                    Err(_) => {}
                }
            }
        });
        Ok(Self { accepted })
    }

    /// Compares with every token and every byte, whatever matches first.
    fn accept(&self, given: &str) -> bool {
        let matched = self.accepted.load().iter().fold(Choice::from(0), |matched, token| {
            matched | token.expose_secret().as_bytes().ct_eq(given.as_bytes())
        });
        matched.into()
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tokens")
    }
}

/// Whether the file is of use.
///
/// # Errors
/// As [`Tokens::watch`].
pub(crate) fn check(path: &Path) -> Result<(), TokenError> {
    read(path).map(drop)
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

fn read(path: &Path) -> Result<Vec<SecretString>, TokenError> {
    let text = fs::read_to_string(path)
        .map(SecretString::from)
        .map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
    let lines = || {
        let lines = text.expose_secret().lines().map(str::trim);
        lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
    };
    let usable = |token: &str| token.len() >= SHORTEST && token.bytes().all(|byte| byte.is_ascii_graphic());
    if lines().next().is_none() || !lines().all(usable) {
        return Err(TokenError::Unusable { path: path.to_owned() });
    }
    Ok(lines().map(SecretString::from).collect())
}

/// Lets calls through that carry one of the tokens, and health checks if those are open.
#[derive(Debug, Clone)]
pub(crate) struct AuthLayer {
    pub(crate) tokens: Option<Tokens>,
    pub(crate) open_health: bool,
}

/// See [`AuthLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Auth<S> {
    inner: S,
    rules: AuthLayer,
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, rules: self.clone() }
    }
}

impl AuthLayer {
    fn admits<B>(&self, request: &Request<B>) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        if self.open_health && request.uri().path().starts_with(HEALTH) {
            return true;
        }
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|header| {
            let (scheme, token) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        token.is_some_and(|token| tokens.accept(token))
    }
}

impl<S> Service<Request<Body>> for Auth<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future =
        futures_util::future::Either<std::future::Ready<Result<Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        use futures_util::future::Either;
        if self.rules.admits(&request) {
            Either::Right(self.inner.call(request))
        } else {
            let refusal = logged_in_full(Status::unauthenticated("a bearer token is required"));
            Either::Left(std::future::ready(Ok(refusal.into_http())))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<SecretString>, TokenError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn any_line_is_a_token() {
        let found = tokens("# current\n0123456789abcdef\n\n  fedcba9876543210  \n").unwrap();
        let accepted = Tokens { accepted: Arc::new(ArcSwap::from_pointee(found)) };
        assert!(accepted.accept("0123456789abcdef"));
        assert!(accepted.accept("fedcba9876543210"));
        assert!(!accepted.accept("0123456789abcde"));
        assert!(!accepted.accept(""));
        assert!(!accepted.accept("# current"));
        assert!(!format!("{accepted:?}").contains("0123"));
    }

    #[test]
    fn short_empty_and_binary_tokens_are_refused_without_being_shown() {
        for text in
            ["", "\n#only a comment\n", "short-secret", "0123456789abcdef\nshort-secret", "0123456789abcdeé"]
        {
            let error = tokens(text).unwrap_err().to_string();
            assert!(error.contains("one token a line"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_a_bearer_header_admits() {
        let accepted =
            Tokens { accepted: Arc::new(ArcSwap::from_pointee(vec!["0123456789abcdef".to_owned().into()])) };
        let rules = AuthLayer { tokens: Some(accepted), open_health: true };
        let admits = |path: &str, header: Option<&str>| {
            let mut request = Request::builder().uri(path);
            if let Some(header) = header {
                request = request.header(header::AUTHORIZATION, header);
            }
            rules.admits(&request.body(()).unwrap())
        };
        assert!(admits("/a.B/C", Some("Bearer 0123456789abcdef")));
        assert!(admits("/a.B/C", Some("bearer  0123456789abcdef")));
        assert!(!admits("/a.B/C", Some("Basic 0123456789abcdef")));
        assert!(!admits("/a.B/C", Some("Bearer")));
        assert!(!admits("/a.B/C", None));
        assert!(admits("/grpc.health.v1.Health/Check", None));
        assert!(!admits("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", None));
    }
}
