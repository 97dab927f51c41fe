//! The bearer tokens that the server accepts, from a file that may change while the server runs.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use crate::file_watch::{self, FileSource};
use crate::operator_file::{self, shown};

/// The accepted tokens. Any of them is sufficient, so that one can be replaced while the other still works.
#[derive(Clone)]
pub(crate) struct Tokens {
    accepted: Arc<ArcSwap<Vec<SecretString>>>,
    numbers: RandomState,
}

/// Identifies a token without revealing it: a number that differs in each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenId(u64);

/// The reason why a token file is unusable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The file cannot be read.
    #[error("auth-token-file: {} cannot be read: {source}", shown(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file holds no token, or a token that is too short.
    #[error(
        "auth-token-file: {} must hold one token per line, each of at least {SHORTEST} visible ASCII characters; lines that begin with # are ignored",
        shown(path)
    )]
    Unusable {
        /// The file.
        path: PathBuf,
    },
    /// The file holds too many tokens.
    #[error(
        "auth-token-file: {} must hold at most {LIMIT} tokens, because each call is compared with all of them",
        shown(path)
    )]
    TooMany {
        /// The file.
        path: PathBuf,
    },
}

/// Shortest accepted token in characters.
const SHORTEST: usize = 16;
/// The most tokens in a file, because each call is compared with all of them.
const LIMIT: usize = 1000;

impl Tokens {
    /// The tokens in the file, one per line, reloaded when the file changes.
    ///
    /// # Errors
    /// [`TokenError`] if the file is unusable at the start. After a later change to an unusable file, the
    /// previous tokens stay.
    pub(crate) fn watch(path: PathBuf) -> Result<Self, TokenError> {
        Ok(Self { accepted: file_watch::watch(TokenFile { path })?, numbers: RandomState::new() })
    }

    /// Returns the number of the token if it is accepted. Compares with every token and every byte, even
    /// after a match.
    pub(crate) fn accept(&self, given: &str) -> Option<TokenId> {
        let matched = self.accepted.load().iter().fold(Choice::from(0), |matched, token| {
            matched | token.expose_secret().as_bytes().ct_eq(given.as_bytes())
        });
        bool::from(matched).then(|| TokenId(self.numbers.hash_one(given)))
    }

    #[cfg(test)]
    pub(crate) fn of(tokens: Vec<SecretString>) -> Self {
        Self { accepted: Arc::new(ArcSwap::from_pointee(tokens)), numbers: RandomState::new() }
    }
}

impl TokenId {
    pub(crate) fn get(self) -> u64 {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// Checks that the file is usable.
///
/// # Errors
/// Those of [`Tokens::watch`].
pub(crate) fn check(path: &Path) -> Result<(), TokenError> {
    read(path).map(drop)
}

struct TokenFile {
    path: PathBuf,
}

impl FileSource for TokenFile {
    type Value = Vec<SecretString>;
    type Error = TokenError;

    fn files(&self) -> Vec<&Path> {
        vec![&self.path]
    }

    fn read(&self) -> Result<Vec<SecretString>, TokenError> {
        read(&self.path)
    }

    fn log_replaced(&self, tokens: &Vec<SecretString>) {
        tracing::info!(count = tokens.len(), "loaded changed tokens");
    }

    fn log_kept(&self, error: &TokenError) {
        tracing::warn!(%error, "kept the previous tokens");
    }
}

fn read(path: &Path) -> Result<Vec<SecretString>, TokenError> {
    let text = operator_file::read_text(path)
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
    if lines().nth(LIMIT).is_some() {
        return Err(TokenError::TooMany { path: path.to_owned() });
    }
    Ok(lines().map(SecretString::from).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn tokens(text: &str) -> Result<Vec<SecretString>, TokenError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn every_line_is_a_token() {
        let accepted = Tokens::of(tokens("# current\n0123456789abcdef\n\n  fedcba9876543210  \n").unwrap());
        assert!(accepted.accept("0123456789abcdef").is_some());
        assert!(accepted.accept("fedcba9876543210").is_some());
        assert!(accepted.accept("0123456789abcde").is_none());
        assert!(accepted.accept("").is_none());
        assert!(accepted.accept("# current").is_none());
        assert!(!format!("{accepted:?}").contains("0123"));
    }

    #[test]
    fn the_number_of_tokens_is_limited() {
        let lines = |count: usize| "0123456789abcdef\n".repeat(count);
        assert_eq!(tokens(&lines(LIMIT)).unwrap().len(), LIMIT);
        assert!(matches!(tokens(&lines(LIMIT + 1)), Err(TokenError::TooMany { .. })));
    }

    #[test]
    fn invalid_tokens_are_refused_without_being_shown() {
        for text in
            ["", "\n#only a comment\n", "short-secret", "0123456789abcdef\nshort-secret", "0123456789abcdeé"]
        {
            let error = tokens(text).unwrap_err().to_string();
            assert!(error.contains("one token per line"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
