//! The `keyword=value` form, with libpq's rules of quoting.

use crate::postgres::connection_string::error::ConnectionStringError;
use crate::postgres::connection_string::layers::Pairs;

/// Parses `text` into settings, in the given order and spelling.
///
/// A value may be in single quotes. A backslash escapes the next character, inside quotes and outside. Spaces
/// around the equals sign are ignored. An empty text has no settings.
pub(crate) fn parse(text: &str) -> Result<Pairs, ConnectionStringError> {
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let position = pairs.len() + 1;
        let missing = ConnectionStringError::NoEqualsSign { position };
        let Some((key, after)) = rest.split_once('=') else { return Err(missing) };
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(missing);
        }
        let (value, after) = value(after.trim_start(), position)?;
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// The value at the start of `text`, and the text after it.
fn value(text: &str, position: usize) -> Result<(String, &str), ConnectionStringError> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(inside) => (true, inside),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push(escaped),
                None => return Err(ConnectionStringError::LoneBackslash),
            },
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            space if !quoted && space.is_whitespace() => return Ok((value, &text[at..])),
            ordinary => value.push(ordinary),
        }
    }
    if quoted { Err(ConnectionStringError::OpenQuote { position }) } else { Ok((value, "")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn reads_plain_quoted_and_escaped_values() {
        assert_eq!(pairs("host=db user=me"), [pair("host", "db"), pair("user", "me")]);
        assert_eq!(pairs(" host = db\n\tuser =me "), [pair("host", "db"), pair("user", "me")]);
        assert_eq!(pairs(r"password='it\'s \\ here'"), [pair("password", r"it's \ here")]);
        assert_eq!(pairs(r"password=a\ b user=me"), [pair("password", "a b"), pair("user", "me")]);
        assert_eq!(pairs("password='' user=me"), [pair("password", ""), pair("user", "me")]);
        assert_eq!(pairs("options=-csearch_path=a,b"), [pair("options", "-csearch_path=a,b")]);
        assert_eq!(pairs("user="), [pair("user", "")]);
        assert_eq!(pairs("  "), []);
    }

    #[test]
    fn rejects_text_that_is_not_a_list_of_settings() {
        let is = |text: &str| parse(text).unwrap_err();
        assert!(matches!(is("host=db nonsense"), ConnectionStringError::NoEqualsSign { position: 2 }));
        assert!(matches!(is("host=db two words=x"), ConnectionStringError::NoEqualsSign { position: 2 }));
        assert!(matches!(is("=x"), ConnectionStringError::NoEqualsSign { position: 1 }));
        assert!(matches!(is("user=me password='x"), ConnectionStringError::OpenQuote { position: 2 }));
        assert!(matches!(is(r"password=x\"), ConnectionStringError::LoneBackslash));
        assert!(matches!(is(r"password='x\"), ConnectionStringError::LoneBackslash));
    }

    proptest! {
        #[test]
        fn quoted_values_read_back_unchanged(values in prop::collection::vec(any::<String>(), 0..5)) {
            let quote = |value: &String| value.replace('\\', r"\\").replace('\'', r"\'");
            let text: Vec<String> =
                values.iter().enumerate().map(|(n, value)| format!("k{n} = '{}'", quote(value))).collect();
            let expected: Vec<_> =
                values.iter().enumerate().map(|(n, value)| pair(&format!("k{n}"), value)).collect();
            prop_assert_eq!(pairs(&text.join(" ")), expected);
        }
    }
}
