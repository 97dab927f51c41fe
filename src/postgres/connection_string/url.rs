//! The `postgres://` form.
//!
//! As lenient as libpq and pgx, so that existing strings still work: several hosts, an unescaped `@` in the
//! password, socket directories as percent-encoded hosts. As in pgx, a plus sign in the query is a space.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::postgres::connection_string::error::ConnectionStringError;
use crate::postgres::connection_string::layers::Pairs;

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Whether `text` has the scheme of a Postgres URL.
pub(crate) fn is_url(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

/// Parses a URL into settings. Several hosts become the comma-separated lists of the keyword form. The
/// settings of the query come last.
pub(crate) fn parse(text: &str) -> Result<Pairs, ConnectionStringError> {
    let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // The last @ ends the credentials: a host name cannot contain one, but an unescaped password can.
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (credentials, hosts),
        None => ("", authority),
    };

    let mut pairs = Pairs::new();
    let mut add = |key: &str, value: String| {
        if !value.is_empty() {
            pairs.push((key.to_owned(), value));
        }
    };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    add("user", decode("a user", user)?);
    add("password", decode("a password", password)?);
    let (hosts, ports) = host_lists(hosts)?;
    add("host", hosts);
    add("port", ports);
    // An unescaped / or ? in a password ends the host part early. The rest of the password would become the
    // name of the database, which is logged.
    check_database(path)?;
    add("dbname", decode("a database name", path)?);

    for setting in query.split('&').filter(|setting| !setting.is_empty()) {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(ConnectionStringError::Url {
                part: "a query",
                expected: "it is key=value, joined by &; a ? in a password is written %3F",
            });
        };
        let key = query_text(key)?;
        if key == "dbname" {
            check_database(value)?;
        }
        pairs.push((key, query_text(value)?));
    }
    Ok(pairs)
}

/// Refuses a database name, as written in the URL, with a separator that must be escaped.
fn check_database(text: &str) -> Result<(), ConnectionStringError> {
    if text.contains(['/', '@', ':']) {
        return Err(ConnectionStringError::Url {
            part: "a database name",
            expected: "write : / @ as %3A %2F %40 in a database name; in a password write : / ? # @ as %3A \
                       %2F %3F %23 %40",
        });
    }
    Ok(())
}

/// The hosts and the ports, each as a comma-separated list; both empty if none are set.
fn host_lists(text: &str) -> Result<(String, String), ConnectionStringError> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for entry in text.split(',') {
        let (host, port) = match entry.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or(bad_host("[ needs a matching ]"))?;
                match after.strip_prefix(':') {
                    Some(port) => (host, port),
                    None if after.is_empty() => (host, ""),
                    None => return Err(bad_host("only a port can follow ]")),
                }
            }
            None => entry.split_once(':').unwrap_or((entry, "")),
        };
        if port.contains(':') {
            return Err(bad_host("an IPv6 address needs brackets, and a password needs an @ after it"));
        }
        hosts.push(decode("a host", host)?);
        ports.push(decode("a port", port)?);
    }
    let list = |entries: Vec<String>| {
        if entries.iter().all(String::is_empty) { String::new() } else { entries.join(",") }
    };
    Ok((list(hosts), list(ports)))
}

fn bad_host(expected: &'static str) -> ConnectionStringError {
    ConnectionStringError::Url { part: "a host", expected }
}

fn query_text(text: &str) -> Result<String, ConnectionStringError> {
    decode("a query", &text.replace('+', " "))
}

fn decode(part: &'static str, text: &str) -> Result<String, ConnectionStringError> {
    let wrong = |expected| ConnectionStringError::Url { part, expected };
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    // The library accepts a lone %; here it is an error.
    let whole = |after: &str| is_hex(after.as_bytes().first()) && is_hex(after.as_bytes().get(1));
    if !text.split('%').skip(1).all(whole) {
        return Err(wrong("% needs two hexadecimal digits; % itself is written %25"));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| wrong("percent-encoded bytes must be valid UTF-8"))
}

/// Every byte except letters, digits and `-._~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` with every [reserved](RESERVED) byte percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        assert!(is_url(text));
        parse(text).unwrap()
    }

    fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn reads_every_part_of_a_url() {
        assert_eq!(
            pairs("postgres://me:p%40ss@db:6432/retool?sslmode=require&application_name=a+b%2Bc"),
            expected(&[
                ("user", "me"),
                ("password", "p@ss"),
                ("host", "db"),
                ("port", "6432"),
                ("dbname", "retool"),
                ("sslmode", "require"),
                ("application_name", "a b+c"),
            ])
        );
        assert_eq!(pairs("postgresql:///retool"), expected(&[("dbname", "retool")]));
        assert_eq!(pairs("postgres://db"), expected(&[("host", "db")]));
        assert_eq!(pairs("postgres://me@/x"), expected(&[("user", "me"), ("dbname", "x")]));
        assert_eq!(pairs("postgres://db?user=a@b&"), expected(&[("host", "db"), ("user", "a@b")]));
    }

    #[test]
    fn reads_lists_brackets_and_sockets() {
        assert_eq!(
            pairs("postgres://a:1,b,[::1]:3,[fe80::2]/x"),
            expected(&[("host", "a,b,::1,fe80::2"), ("port", "1,,3,"), ("dbname", "x")])
        );
        assert_eq!(
            pairs("postgres://%2Fvar%2Frun:6432/x"),
            expected(&[("host", "/var/run"), ("port", "6432"), ("dbname", "x")])
        );
        assert_eq!(pairs("postgres:///x?host=/tmp"), expected(&[("dbname", "x"), ("host", "/tmp")]));
        assert_eq!(pairs("postgres://:6432/x"), expected(&[("port", "6432"), ("dbname", "x")]));
    }

    #[test]
    fn accepts_an_unescaped_at_sign_in_a_password() {
        assert_eq!(
            pairs("postgres://me:p@ss@db/x"),
            expected(&[("user", "me"), ("password", "p@ss"), ("host", "db"), ("dbname", "x")])
        );
    }

    #[test]
    fn rejects_each_invalid_part_without_repeating_it() {
        for (text, part) in [
            ("postgres://me:hunter2%zz@db/x", "a password"),
            ("postgres://me:hunter2%2", "a port"),
            ("postgres://hunter2%ff@db/x", "a user"),
            ("postgres://me:12/hunter2@db/x", "a database name"),
            ("postgres://me:12?hunter2@db/x", "a query"),
            ("postgres://[::1/hunter2", "a host"),
            ("postgres://[::1]hunter2/x", "a host"),
            ("postgres://me:12:hunter2/x", "a host"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                matches!(&error, ConnectionStringError::Url { part: p, .. } if *p == part),
                "{text}: {error}"
            );
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn encoded_values_read_back_unchanged(user in ".+", password in ".+", name in ".+", value in any::<String>()) {
            let text = format!(
                "postgres://{}:{}@h/{}?k={}",
                encode(&user), encode(&password), encode(&name), encode(&value)
            );
            prop_assert_eq!(
                pairs(&text),
                expected(&[("user", &user), ("password", &password), ("host", "h"), ("dbname", &name), ("k", &value)])
            );
        }
    }
}
