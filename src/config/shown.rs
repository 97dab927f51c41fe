//! Values that may be printed: a secret can be in the wrong setting.

use std::net::IpAddr;
use std::path::Path;

use url::Url;

use crate::address::HostAndPort;
use crate::operator_file;

/// The text, unless it may be a secret in the wrong setting.
pub(super) fn shown_if(text: &str, is_safe: fn(&str) -> bool) -> String {
    if is_safe(text) { text.to_owned() } else { "[text withheld, it may be a secret]".to_owned() }
}

/// Whether a shown value contains a placeholder in place of a text or of a path.
pub(super) fn is_withheld(shown: &str) -> bool {
    shown.contains(" withheld, it may be a secret]")
}

/// The longest part of an id or of an address that may be printed, in bytes. Keys and tokens are longer.
const LONGEST_PART: usize = 40;

/// Whether a text consists of short parts as ids and addresses have them. A connection string in place of an id has
/// blanks, equals signs, a scheme, or a password before an at sign.
pub(super) fn is_identifier(text: &str) -> bool {
    let is_part = |part: &str| part.len() <= LONGEST_PART && part.chars().all(char::is_alphanumeric);
    let user = text.rsplit_once('@').map_or("", |(user, _)| user);
    !text.contains("://")
        && !user.contains(':')
        && text.split(['@', '/', ':', '.', '_', '-', '\\']).all(is_part)
}

/// Whether a text is an identifier without an at sign, which a database URL without its scheme has.
pub(super) fn is_id(text: &str) -> bool {
    is_identifier(text) && !text.contains('@')
}

/// Whether a text has the form of a client id of ConductorOne: `name@host/rest`.
pub(super) fn is_client_id(text: &str) -> bool {
    let host = text.split_once('@').and_then(|(_, rest)| rest.split_once('/'));
    is_identifier(text.trim()) && host.is_some_and(|(host, path)| !host.contains('@') && !path.contains('@'))
}

/// Whether a text can be a misspelled word of a choice.
pub(super) fn is_short_word(text: &str) -> bool {
    text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Whether a text has the form of a resource type, or of a resource's id with its prefix. The text after another
/// colon could be a password.
pub(super) fn is_type_or_resource(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || matches!(letter, '_' | '-');
    match text.strip_prefix("bid:r:") {
        Some(resource) => is_id(resource) && !resource.contains(':'),
        None => is_id(text) && text.chars().all(is_letter),
    }
}

/// Whether a URL has no user, no password, no query, no fragment, and no long part in its path.
pub(super) fn is_plain_url(text: &str) -> bool {
    Url::parse(text.trim()).is_ok_and(|url| {
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        let is_plain = !has_credentials && url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && is_plain && is_id(&url.path().replace('~', "/"))
    })
}

/// Whether a text is a host, a host and a port, or a socket, with or without a scheme.
pub(super) fn is_address(text: &str) -> bool {
    let bare = text.strip_prefix("https://").or(text.strip_prefix("http://")).unwrap_or(text);
    let bare = bare.trim_end_matches('/');
    bare.parse::<HostAndPort>().is_ok()
        || bare.parse::<IpAddr>().is_ok()
        || bare == "localhost"
        || bare.strip_prefix("unix:").is_some_and(|path| shown_path(path) == path)
}

/// Whether a text is an IP address, or a host name of short words. Any other name may be a password.
pub(super) fn is_host(text: &str) -> bool {
    let ip = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    ip.parse::<IpAddr>().is_ok() || text.split('.').all(is_short_word)
}

/// The path, unless it may be a secret in place of a path.
pub(super) fn shown_path(path: &str) -> String {
    operator_file::shown(Path::new(path)).to_string()
}
