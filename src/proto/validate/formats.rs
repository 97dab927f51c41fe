//! Well-known formats of text.
//!
//! They are implemented here because requests must be refused exactly when the protocol's servers refuse
//! them. The crates `email_address` and `url` accept other texts, such as an address in brackets or a URL
//! with spaces.

/// Longest address and longest part before the `@`, in bytes, that the protocol's servers accept.
const MAX_EMAIL: usize = 254;
const MAX_LOCAL: usize = 64;
/// Longest host name and longest label, in bytes.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// Whether the text is one bare e-mail address, `local@host`.
///
/// A name before the address or brackets around it, as in a mail header, are refused, because the text is
/// used as an address. Before the `@`, letters of any script and quoted text are accepted.
///
/// The crate `email_address` refuses a host that ends in a dot and accepts a host with underscores or letters
/// of other scripts. The protocol's Go servers do not, so the rule is implemented here.
pub fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    text.len() <= MAX_EMAIL && local.len() <= MAX_LOCAL && is_local_part(local) && is_host_name(host)
}

/// Whether the text is a URI with a scheme. It may contain only the allowed characters and complete percent
/// escapes, and its port must be a number.
pub(super) fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !scheme_fits || !rest.chars().all(is_uri_character) || !has_whole_escapes(rest) {
        return false;
    }
    let Some(authority) = rest.strip_prefix("//") else { return !rest.is_empty() };
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // The colons of an IPv6 address are in brackets.
    let after_host = host.rsplit_once(']').map_or(host, |(_, after)| after);
    match after_host.rsplit_once(':') {
        Some((_, port)) => port.chars().all(|c| c.is_ascii_digit()),
        None => true,
    }
}

fn is_local_part(local: &str) -> bool {
    match local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => is_quotable(quoted),
        None => local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_character)),
    }
}

/// Inside quotes any visible character is allowed; quotes and backslashes must be escaped.
fn is_quotable(quoted: &str) -> bool {
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        let seen = match character {
            '"' => return false,
            '\\' => characters.next(),
            other => Some(other),
        };
        if seen.is_none_or(char::is_control) {
            return false;
        }
    }
    !quoted.is_empty()
}

fn is_atom_character(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

fn is_host_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= MAX_HOST && host.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn is_uri_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
}

fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut hex = after.chars();
        let mut digit = || hex.next().is_some_and(|c| c.is_ascii_hexdigit());
        digit() && digit()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_valid_and_rejects_invalid_email_addresses() {
        let local = "l".repeat(MAX_LOCAL);
        let label = "d".repeat(MAX_LABEL);
        // 64 + 1 + 189 bytes.
        let longest = format!("{local}@{label}.{label}.{}", "d".repeat(61));
        assert_eq!(longest.len(), MAX_EMAIL);
        for good in [
            "a@b",
            "ada.lovelace+tag@mail.example.com",
            "o'brien@example.com",
            "jürgen@example.com",
            "\"a b\"@example.com",
            "\"a\\\"@b\"@example.com",
            "a@example.com.",
            &longest,
        ] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            " a@b",
            "a @b",
            "a..b@c",
            ".a@b",
            "a.@b",
            "Ada <ada@example.com>",
            "<ada@example.com>",
            "\"\"@b",
            "\"a\"b\"@c",
            "\"a\\\"@c",
            "a@-b",
            "a@b-",
            "a@b..c",
            "a@b..",
            "a@b_c",
            "a@[127.0.0.1]",
            &format!("l{local}@b"),
            &format!("a@d{label}"),
            &format!("{longest}d"),
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn accepts_valid_and_rejects_invalid_absolute_uris() {
        for good in [
            "https://example.com",
            "https://u:p@example.com:8443/a%20b?c=d#e",
            "http://[::1]:80/",
            "http://[::1]",
            "urn:isbn:1",
            "mailto:a@b",
            "file:///tmp/x",
            "http://h:",
        ] {
            assert!(is_absolute_uri(good), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "/a",
            "https",
            "https:",
            ":a",
            "1http://a",
            "ht tp://a",
            "https://a b",
            "https://a/ü",
            "https://a/%2",
            "https://a/%zz",
            "https://a:b/",
            "https://[::1]:x/",
            "https://a\n",
        ] {
            assert!(!is_absolute_uri(bad), "{bad}");
        }
    }
}
