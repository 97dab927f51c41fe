//! Cursors that a response adds to its own next page.

use std::collections::BTreeSet;

use prost_types::Any;

use crate::agent::sync::annotation::{ENQUEUE_PAGE_TOKENS, is};
use crate::agent::sync::error::Error;
use crate::agent::sync::run::{Run, identity, locked, method};
use crate::agent::sync::state::Action;
use crate::agent::sync::storage::Storage;
use crate::agent::sync::tokens::MAX_CURSORS;
use crate::proto::connector::EnqueuePageTokens;
use crate::proto::find_annotation;

/// Maximum number of cursors in one response.
const MAX_IN_ANSWER: usize = 1024;
/// Maximum length of one page token, in bytes.
const LONGEST_TOKEN: usize = 1 << 20;
/// Maximum total length of the page tokens of one response, in bytes.
const LONGEST_TOGETHER: usize = 16 << 20;

impl<S: Storage> Run<S> {
    /// Returns the actions for the cursors that a response requests. A cursor that was requested before is
    /// skipped, so that cursors that request each other come to an end.
    ///
    /// # Errors
    /// [`Error::Answer`] if the cursors break the rules, [`Error::TooManyCursors`]
    pub(crate) fn spawned(
        &self,
        action: &Action,
        annotations: &[Any],
        next_page_token: &str,
    ) -> Result<Vec<Action>, Error> {
        let asked = annotations.iter().filter(|annotation| is(annotation, ENQUEUE_PAGE_TOKENS)).count();
        if asked == 0 {
            return Ok(Vec::new());
        }
        let broken = |problem: String| self.broken(action, format!("EnqueuePageTokens {problem}"));
        if asked > 1 {
            return Err(broken("occurs more than once".to_owned()));
        }
        let tokens = find_annotation::<EnqueuePageTokens>(annotations)
            .transpose()
            .map_err(|error| broken(format!("cannot be read: {error}")))?
            .map(|asked| asked.page_tokens)
            .unwrap_or_default();
        check(&tokens, next_page_token).map_err(broken)?;
        let mut spawned = Vec::with_capacity(tokens.len());
        let mut met = locked(&self.spawned_cursors);
        for page_token in tokens {
            let cursor = Action {
                resource_id: action.resource_id.clone(),
                page_token,
                spawned: true,
                type_scoped: action.type_scoped,
                ..Action::of_type(action.operation, action.resource_type_id.clone())
            };
            if !met.is_new(identity(&cursor)) {
                tracing::warn!(
                    method = method(action.operation),
                    target = %action.target(),
                    "the connector requested the same pages more than once; they are read once"
                );
                continue;
            }
            if met.len() > MAX_CURSORS {
                let (method, target) = (method(action.operation), action.target());
                return Err(Error::TooManyCursors { method, target, limit: MAX_CURSORS });
            }
            spawned.push(cursor);
        }
        Ok(spawned)
    }
}

fn check(tokens: &[String], next_page_token: &str) -> Result<(), String> {
    if tokens.len() > MAX_IN_ANSWER {
        return Err(format!("has {} page tokens, but the limit is {MAX_IN_ANSWER}", tokens.len()));
    }
    let mut together = 0;
    let mut seen = BTreeSet::new();
    for token in tokens {
        together += token.len();
        match token.as_str() {
            "" => return Err("has an empty page token".to_owned()),
            long if long.len() > LONGEST_TOKEN => {
                return Err(format!(
                    "has a page token of {} bytes, but the limit is {LONGEST_TOKEN}",
                    long.len()
                ));
            }
            next if next == next_page_token => {
                return Err("has the next page token of its answer".to_owned());
            }
            token if !seen.insert(token) => return Err("has a page token twice".to_owned()),
            _ => {}
        }
    }
    if together > LONGEST_TOGETHER {
        return Err(format!("has {together} bytes of page tokens, but the limit is {LONGEST_TOGETHER}"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn rejects_empty_repeated_too_many_and_too_long_cursors() {
        let tokens = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(check(&tokens(&["a", "b"]), "c"), Ok(()));
        assert!(check(&tokens(&["a", ""]), "").unwrap_err().contains("empty"));
        assert!(check(&tokens(&["a", "b", "a"]), "").unwrap_err().contains("twice"));
        assert!(check(&tokens(&["a", "b"]), "b").unwrap_err().contains("next page token"));
        let many = |count| (0..count).map(|number: usize| number.to_string()).collect::<Vec<_>>();
        assert_eq!(check(&many(1024), ""), Ok(()));
        assert!(check(&many(1025), "").unwrap_err().contains("1025"));
        let long = |length: usize, count: usize| {
            let token = |number: usize| {
                let number = number.to_string();
                "x".repeat(length - number.len()) + &number
            };
            (0..count).map(token).collect::<Vec<_>>()
        };
        assert_eq!(check(&long(LONGEST_TOKEN, 16), ""), Ok(()));
        assert!(check(&long(LONGEST_TOKEN + 1, 1), "").unwrap_err().contains("bytes"));
        assert!(check(&long(LONGEST_TOKEN, 17), "").unwrap_err().contains("bytes of page tokens"));
    }
}
