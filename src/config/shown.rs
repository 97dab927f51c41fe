//! Values that may be printed: a secret can be in the wrong setting.

use std::net::IpAddr;
use std::path::Path;

use crate::address::HostAndPort;
use crate::operator_file;

/// The text, unless it may be a secret in the wrong setting.
pub(super) fn shown_if(text: &str, is_safe: fn(&str) -> bool) -> String {
    if is_safe(text) { text.to_owned() } else { "[text withheld, it may be a secret]".to_owned() }
}

/// The longest part of an id or of an address that may be printed, in bytes. Keys and tokens are longer.
const LONGEST_PART: usize = 40;

/// Whether a text consists of short parts as ids and addresses have them. A connection string in place of an id has
/// blanks, equals signs, a scheme, or a password before an at sign.
pub(super) fn is_identifier(text: &str) -> bool {
    let is_part = |part: &str| part.len() <= LONGEST_PART && part.chars().all(char::is_alphanumeric);
    let user = text.split_once('@').map_or("", |(user, _)| user);
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
    is_identifier(text.trim()) && host.is_some()
}

/// Whether a text can be a misspelt word of a choice.
pub(super) fn is_short_word(text: &str) -> bool {
    text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Whether a text has the form of a resource type, or of a resource's id with its prefix.
pub(super) fn is_type_or_resource(text: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    is_id(text) && (text.starts_with("bid:r:") || text.chars().all(is_word))
}

/// Whether a URL has no user, no password, no query, no fragment and no long part.
pub(super) fn is_plain_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.contains(['?', '#', '%']) && is_id(rest))
}

/// Whether a text is a host, a host and a port, or a socket, with or without a scheme.
pub(super) fn is_address(text: &str) -> bool {
    let bare = text.strip_prefix("https://").or(text.strip_prefix("http://")).unwrap_or(text);
    let bare = bare.trim_end_matches('/');
    let ip = bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(bare);
    bare.parse::<HostAndPort>().is_ok()
        || ip.parse::<IpAddr>().is_ok()
        || bare == "localhost"
        || bare.strip_prefix("unix:").is_some_and(|path| shown_path(path) == path)
}

/// Whether a text is an IP address, or a host name without digits. A name with digits may be a password.
pub(super) fn is_host(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || matches!(letter, '.' | '-');
    is_address(text) || is_id(text) && text.chars().all(is_letter)
}

/// The path, unless it may be a secret in place of a path.
pub(super) fn shown_path(path: &str) -> String {
    operator_file::shown(Path::new(path)).to_string()
}
