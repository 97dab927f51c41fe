//! The values that have rules of their own.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

/// Where a server listens. Printed as it is written: `host:port`, `[v6]:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A port.
    Tcp {
        /// A name or an address; an IPv6 address without its brackets. `(host, port)` can be bound as is.
        host: String,
        /// The port; 0 lets the system choose one.
        port: u16,
    },
    /// A socket in the file system; not empty. A relative path starts from the working directory.
    Unix(PathBuf),
}

/// A host and a port, printed as `host:port` or `[v6]:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAndPort {
    /// A name or an address; an IPv6 address without its brackets. `(host, port)` can be bound as is.
    pub host: String,
    /// The port; 0 lets the system choose one to listen on.
    pub port: u16,
}

/// Where Retool's REST API answers: scheme, host, and a path prefix if there is one. It never ends
/// in a slash and has no query and no credentials, so a path can be appended as it is (spec 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    host: String,
    encrypted: bool,
}

/// The least severity that is logged (child-process.md 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// The normal course of things, and worse.
    Info,
    /// What somebody should look at, and worse.
    Warn,
    /// Only what failed.
    Error,
}

/// The shape of a log line (child-process.md 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For a person at a terminal.
    Console,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file that is appended to. A relative path starts from the working directory.
    File(PathBuf),
}

impl ListenAddress {
    /// Reads `host:port`, with brackets around an IPv6 address, or `unix:` and a path.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the setting.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // A scheme, as in every gRPC program, and so never a host of that name.
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(text, path).map(Self::Unix);
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("{text:?} has no port"));
        };
        let number = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten();
        let Some(port) = number else {
            return Err(format!("{port:?} in {text:?} is not a port, which is a number from 0 to 65535"));
        };
        if host.is_empty() {
            return Err(format!("{text:?} names no host; 0.0.0.0:{port} or [::]:{port} is every interface"));
        }
        if host.parse::<Ipv6Addr>().is_ok() {
            return Err(format!("the IPv6 address in {text:?} needs brackets: [{host}]:{port}"));
        }
        Ok(Self::Tcp { host: parse_host(host)?, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write_host_and_port(f, host, *port),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl HostAndPort {
    /// Reads `host:port`, with brackets around an IPv6 address.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the setting.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match ListenAddress::parse(text)? {
            ListenAddress::Tcp { host, port } => Ok(Self { host, port }),
            ListenAddress::Unix(_) => Err(format!("{text:?} is a socket in the file system")),
        }
    }
}

impl fmt::Display for HostAndPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host_and_port(f, &self.host, self.port)
    }
}

fn socket_path(text: &str, path: &str) -> Result<PathBuf, String> {
    // In the form with slashes, what stands between the second and the third would be a machine.
    let path = match path.strip_prefix("//") {
        Some(rest) if !rest.starts_with('/') => {
            return Err(format!("{text:?} has two slashes where one or three begin a path"));
        }
        Some(rest) => rest,
        None => path,
    };
    if path.is_empty() { Err(format!("{text:?} names no path")) } else { Ok(path.into()) }
}

/// Reads a name or an address. An IPv6 address may stand in brackets and loses them.
///
/// # Errors
/// What is wrong with it, as the end of a sentence that begins with the setting.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let host = match bracketed {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
        Some(_) => return Err(format!("{text:?} is not an IPv6 address")),
        None if text.parse::<Ipv6Addr>().is_ok() => text,
        None if !text.is_empty()
            && text.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_')) =>
        {
            text
        }
        None => return Err(format!("{text:?} is not a host")),
    };
    Ok(host.to_owned())
}

/// Writes what can be dialled, and stand in a URL: brackets around an IPv6 address.
pub(super) fn write_host_and_port(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
}

impl BaseUrl {
    /// Reads a URL and cuts what is of no use to a base: query, fragment, trailing slashes.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence. Never the URL: people put credentials there.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let uri: http::Uri = text.trim().parse().map_err(|error| format!("not a URL ({error})"))?;
        let encrypted = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err("the scheme is neither http nor https".into()),
            None => return Err("the scheme is missing".into()),
        };
        let authority = match uri.authority() {
            Some(authority) if !authority.host().is_empty() => authority,
            _ => return Err("the host is missing".into()),
        };
        if authority.as_str().contains('@') {
            return Err("credentials do not belong in the URL; the token has a setting of its own".into());
        }
        if authority.as_str() != authority.host() && authority.port_u16().is_none() {
            return Err("the port is not a number from 0 to 65535".into());
        }
        let scheme = if encrypted { "https" } else { "http" };
        let text = format!("{scheme}://{authority}{}", uri.path());
        Ok(Self { text: text.trim_end_matches('/').to_owned(), host: authority.host().to_owned(), encrypted })
    }

    /// The URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host if what is sent to it can be read on the way: plain http to another machine.
    pub(super) fn exposed_host(&self) -> Option<&str> {
        let name = self.host.trim_start_matches('[').trim_end_matches(']');
        let loopback = name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            || name.eq_ignore_ascii_case("localhost");
        (!self.encrypted && !loopback).then_some(self.host.as_str())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl LogLevel {
    /// Reads a level in any case; `None` for an unknown word.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warn" => Some(Self::Warn),
            "error" | "dpanic" | "panic" | "fatal" => Some(Self::Error),
            _ => None,
        }
    }
}

impl LogFormat {
    /// Reads a format in any case; `None` for an unknown word.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "console" => Some(Self::Console),
            _ => None,
        }
    }
}

impl LogTarget {
    /// Reads the two special names as they are; everything else is a file.
    pub(super) fn parse(text: &str) -> Self {
        match text {
            "stderr" => Self::Stderr,
            "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{BaseUrl, ListenAddress, parse_host};

    #[test]
    fn a_listen_address_is_read_and_printed() {
        for text in [
            "127.0.0.1:8080",
            "localhost:0",
            "[::1]:65535",
            "my-host.example.com:1",
            "unix:/run/retool.sock",
            "unix:here.sock",
            "unix:../a b:1",
        ] {
            assert_eq!(ListenAddress::parse(text).unwrap().to_string(), text);
        }
        let tcp = |host: &str, port| ListenAddress::Tcp { host: host.to_owned(), port };
        assert_eq!(ListenAddress::parse("[::1]:80").unwrap(), tcp("::1", 80));
        assert_eq!(ListenAddress::parse("unix.example.com:80").unwrap(), tcp("unix.example.com", 80));
        let unix = |path: &str| ListenAddress::Unix(path.into());
        assert_eq!(ListenAddress::parse("unix:/a").unwrap(), unix("/a"));
        assert_eq!(ListenAddress::parse("unix:///a").unwrap().to_string(), "unix:/a");
        assert_eq!(ListenAddress::parse("unix:8080").unwrap(), unix("8080"));
    }

    #[test]
    fn a_wrong_listen_address_says_what_is_wrong() {
        for (text, problem) in [
            ("localhost", "\"localhost\" has no port"),
            ("h:", "\"\" in \"h:\" is not a port, which is a number from 0 to 65535"),
            ("h:65536", "\"65536\" in \"h:65536\" is not a port, which is a number from 0 to 65535"),
            ("h:+1", "\"+1\" in \"h:+1\" is not a port, which is a number from 0 to 65535"),
            (":80", "\":80\" names no host; 0.0.0.0:80 or [::]:80 is every interface"),
            ("::1:80", "the IPv6 address in \"::1:80\" needs brackets: [::1]:80"),
            ("[h]:80", "\"[h]\" is not an IPv6 address"),
            ("http://h:80", "\"http://h\" is not a host"),
            ("unix:", "\"unix:\" names no path"),
            ("unix://", "\"unix://\" has two slashes where one or three begin a path"),
            ("unix://run/a", "\"unix://run/a\" has two slashes where one or three begin a path"),
        ] {
            assert_eq!(ListenAddress::parse(text).unwrap_err(), problem);
        }
    }

    #[test]
    fn a_host_stands_alone() {
        for (text, host) in
            [("localhost", "localhost"), ("0.0.0.0", "0.0.0.0"), ("::1", "::1"), ("[::1]", "::1")]
        {
            assert_eq!(parse_host(text).unwrap(), host);
        }
        for text in ["", "h:80", "127.0.0.1:80", "[::1]:80", "http://h", "a b"] {
            assert_eq!(parse_host(text).unwrap_err(), format!("{text:?} is not a host"));
        }
        assert_eq!(parse_host("[h]").unwrap_err(), "\"[h]\" is not an IPv6 address");
    }

    #[test]
    fn a_base_url_is_cut_to_a_base() {
        for (text, base) in [
            ("https://retool.example.com", "https://retool.example.com"),
            ("https://retool.example.com///", "https://retool.example.com"),
            (" HTTPS://h:3000/prefix/ \n", "https://h:3000/prefix"),
            ("http://h/a/b?token=1#x", "http://h/a/b"),
            ("http://[::1]:3000/", "http://[::1]:3000"),
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!((url.as_str(), url.to_string().as_str()), (base, base));
        }
    }

    #[test]
    fn a_wrong_base_url_says_what_is_wrong() {
        for (text, problem) in [
            ("retool.example.com", "the scheme is missing"),
            ("/api", "the scheme is missing"),
            ("ftp://h", "the scheme is neither http nor https"),
            ("https://:443/", "the host is missing"),
            ("https://h:99999", "the port is not a number from 0 to 65535"),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap_err(), problem, "{text}");
        }
        assert!(BaseUrl::parse("https://a b").unwrap_err().starts_with("not a URL ("));
        assert!(BaseUrl::parse("https://").unwrap_err().starts_with("not a URL ("));
    }
}
