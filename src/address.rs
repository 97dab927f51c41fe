//! Hosts and ports in settings: `host:port`, with brackets around an IPv6 address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// A host and a port, printed as `host:port` or `[v6]:port`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct HostAndPort {
    /// A name or an address, IPv6 without brackets. `(host, port)` can be bound as is.
    pub host: String,
    /// The port. For a listener, 0 selects any free port.
    pub port: u16,
}

/// The reason why a text is not an address. Each message is the end of a sentence that begins with the
/// setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// There is no colon.
    #[error("{text:?} has no port")]
    NoPort {
        /// The text.
        text: String,
    },
    /// The text after the last colon is not a port.
    #[error("{port:?} in {text:?} is not a port, which is a number from 0 to 65535")]
    InvalidPort {
        /// The text after the last colon.
        port: String,
        /// The text.
        text: String,
    },
    /// There is no host before the colon.
    #[error("{text:?} has no host; use 0.0.0.0:{port} or [::]:{port} for all interfaces")]
    NoHost {
        /// The text.
        text: String,
        /// The port.
        port: u16,
    },
    /// An IPv6 address before the port has no brackets.
    #[error("the IPv6 address in {text:?} needs brackets: [{host}]:{port}")]
    NoBrackets {
        /// The text.
        text: String,
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The text in brackets is not an IPv6 address.
    #[error("{host:?} is not an IPv6 address")]
    NotIpv6 {
        /// The host with its brackets.
        host: String,
    },
    /// It is neither a name nor an address.
    #[error("{host:?} is not a host")]
    NotAHost {
        /// The text.
        host: String,
    },
    /// The text is a socket file, but only a port is valid.
    #[error("unix: is the address of a socket in the file system")]
    SocketFile,
    /// There is no path after `unix:`.
    #[error("unix: has no path")]
    NoPath,
    /// In `unix://name/path`, the name would be a machine.
    #[error("the path after unix:// must begin with a slash; use unix:/path or unix:///path")]
    TwoSlashes,
}

/// The text in a form that is safe for a message. Only an IP address, a short word or a number, with a port or
/// without, is repeated: any other text could be a misplaced secret.
fn shown(text: &str) -> String {
    if is_fit_to_show(text) { text.to_owned() } else { "...".to_owned() }
}

fn is_fit_to_show(text: &str) -> bool {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let bare = text.strip_prefix("http://").or(text.strip_prefix("https://")).unwrap_or(text);
    let host = match bare.rsplit_once(':') {
        _ if is_address(bare) => return true,
        Some((host, port)) if like_a_port(port) => host,
        Some(_) => return false,
        None => bare,
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.is_empty() || is_address(host) || like_a_port(host) || like_a_word(host)
}

/// An invalid port in a form that is safe for a message: the text after a colon could be a password.
fn shown_port(port: &str) -> String {
    if like_a_port(port) { port.to_owned() } else { "...".to_owned() }
}

/// A number of at most five digits, perhaps with other characters of numbers.
fn like_a_port(text: &str) -> bool {
    text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.'))
}

fn like_a_word(text: &str) -> bool {
    text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'-'))
}

impl FromStr for HostAndPort {
    type Err = AddressError;

    /// Parses `host:port`, with brackets around an IPv6 address.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let owned = || shown(text);
        if let Some(path) = text.strip_prefix(UNIX) {
            socket_path(path)?;
            return Err(AddressError::SocketFile);
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(AddressError::NoPort { text: owned() });
        };
        let number = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten();
        let Some(port) = number else {
            let text = format!("{}:{}", shown(host), shown_port(port));
            return Err(AddressError::InvalidPort { port: shown_port(port), text });
        };
        if host.is_empty() {
            return Err(AddressError::NoHost { text: owned(), port });
        }
        if host.parse::<Ipv6Addr>().is_ok() {
            return Err(AddressError::NoBrackets { text: owned(), host: host.to_owned(), port });
        }
        Ok(Self { host: parse_host(host)?, port })
    }
}

impl TryFrom<String> for HostAndPort {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl fmt::Display for HostAndPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host_and_port(f, &self.host, self.port)
    }
}

/// The prefix of the address of a socket file, as in every gRPC program; never a host with this name.
pub(crate) const UNIX: &str = "unix:";

/// The path of a socket file. `path` is the part of its address after `unix:`.
///
/// # Errors
/// [`AddressError::TwoSlashes`], [`AddressError::NoPath`]
pub(crate) fn socket_path(path: &str) -> Result<PathBuf, AddressError> {
    // In the form with slashes, the text between the second and the third slash would be a machine.
    let path = match path.strip_prefix("//") {
        Some(rest) if !rest.starts_with('/') => {
            return Err(AddressError::TwoSlashes);
        }
        Some(rest) => rest,
        None => path,
    };
    if path.is_empty() { Err(AddressError::NoPath) } else { Ok(path.into()) }
}

/// Parses a name or an address. Brackets around an IPv6 address are removed.
///
/// # Errors
/// [`AddressError::NotIpv6`], [`AddressError::NotAHost`]
pub(crate) fn parse_host(text: &str) -> Result<String, AddressError> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_name =
        |text: &str| text.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_'));
    let host = match bracketed {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
        Some(_) => return Err(AddressError::NotIpv6 { host: shown(text) }),
        None if text.parse::<Ipv6Addr>().is_ok() => text,
        None if !text.is_empty() && is_name(text) => text,
        None => return Err(AddressError::NotAHost { host: shown(text) }),
    };
    Ok(host.to_owned())
}

/// Writes an address for a connection or a URL: with brackets around an IPv6 address.
pub(crate) fn write_host_and_port(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rejects_a_host_with_a_port() {
        for (text, host) in
            [("localhost", "localhost"), ("0.0.0.0", "0.0.0.0"), ("::1", "::1"), ("[::1]", "::1")]
        {
            assert_eq!(parse_host(text).unwrap(), host);
        }
        for text in ["", "h:80", "127.0.0.1:80", "[::1]:80", "http://h"] {
            assert_eq!(parse_host(text).unwrap_err().to_string(), format!("{text:?} is not a host"));
        }
        assert_eq!(parse_host("a b").unwrap_err().to_string(), "\"...\" is not a host");
        assert_eq!(parse_host("[h]").unwrap_err().to_string(), "\"[h]\" is not an IPv6 address");
    }

    #[test]
    fn an_error_repeats_no_text_that_may_be_a_secret() {
        for text in [
            "S3cret",
            "hunter2",
            "correct-horse-battery",
            "u:hunter2",
            "u:hunter2@h:80",
            "http://u:hunter2",
            "https://hunter2/x",
            "[hunter2]:80",
            "123456789012",
            "unix://u:hunter2@h",
        ] {
            let error = text.parse::<HostAndPort>().unwrap_err().to_string();
            let secrets = ["S3cret", "hunter2", "horse", "123456789"];
            assert!(!secrets.iter().any(|secret| error.contains(secret)), "{error}");
        }
        for text in ["localhost", "8080", "127.0.0.1"] {
            let error = text.parse::<HostAndPort>().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn rejects_a_socket_file_as_host_and_port() {
        for (text, problem) in [
            ("unix:/tmp/x", "unix: is the address of a socket in the file system"),
            ("unix:", "unix: has no path"),
            (
                "unix://u:hunter2@h",
                "the path after unix:// must begin with a slash; use unix:/path or unix:///path",
            ),
        ] {
            assert_eq!(text.parse::<HostAndPort>().unwrap_err().to_string(), problem);
        }
    }
}
