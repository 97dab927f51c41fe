//! Values that may be printed: a secret can be in the wrong setting.

use std::net::IpAddr;
use std::path::Path;

use crate::address::HostAndPort;
use crate::operator_file;

/// The text, unless it may be a secret in the wrong setting.
pub(super) fn shown_if(text: &str, is_safe: fn(&str) -> bool) -> String {
    if is_safe(text) { text.to_owned() } else { "[text withheld, it may be a secret]".to_owned() }
}

/// Whether a text is on one line and contains no address, which could contain a password.
pub(super) fn is_plain(text: &str) -> bool {
    !text.contains("://") && !text.contains(char::is_control)
}

/// Whether a text can be ids of resources or types. An address of a database that lost its beginning still has an at
/// sign.
pub(super) fn is_list_of_ids(text: &str) -> bool {
    is_plain(text) && !text.contains('@')
}

/// Whether a URL has no user, no password, no query and no fragment.
pub(super) fn is_plain_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.contains(['@', '?', '#']) && is_plain(rest))
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

/// The path, unless it may be a secret in place of a path.
pub(super) fn shown_path(path: &str) -> String {
    operator_file::shown(Path::new(path)).to_string()
}
