//! The HTTP proxy for connections to ConductorOne, from the same variables and by the same rules as in programs
//! written in Go: `HTTPS_PROXY`, except for the hosts in `NO_PROXY`. A loopback address has no proxy.

mod exempt;

use std::env;
use std::fmt;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::agent::service::api_host::ApiHost;
use exempt::Exempt;

/// The variables, and the form that many tools use in lower case.
const PROXY: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const EXEMPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// An HTTP proxy. `Debug` and `Display` do not show its password.
#[derive(Debug, Clone)]
pub(crate) struct Proxy(Intercept);

/// The reason why the proxy cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ProxyError {
    /// The proxy uses an unsupported protocol.
    #[error(
        "HTTPS_PROXY names a {scheme} proxy, and only HTTP proxies are supported; set it to http://host:port or https://host:port, or exclude {host} with NO_PROXY"
    )]
    Scheme {
        /// The scheme of the URL.
        scheme: &'static str,
        /// The host that the connections are for.
        host: String,
    },
    /// The variable has no valid URL. The error does not repeat it, because it may hold a password.
    #[error("HTTPS_PROXY is not the URL of a proxy; set it to http://host:port or https://host:port")]
    Url,
}

/// The schemes of other proxies.
const UNSUPPORTED: [&str; 5] = ["socks4", "socks4a", "socks5", "socks5h", "socks"];

impl Proxy {
    /// The proxy for connections to this host, according to the environment of the process.
    ///
    /// # Errors
    /// [`ProxyError`], only if the host needs the proxy.
    pub(crate) fn of_process(host: &ApiHost) -> Result<Option<Self>, ProxyError> {
        Self::find(host, |name| env::var(name).ok())
    }

    /// Like [`Proxy::of_process`], with the variables that `get` returns.
    fn find(host: &ApiHost, get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ProxyError> {
        let first = |names: [&str; 2]| {
            names
                .into_iter()
                .filter_map(&get)
                .map(|value| value.trim().to_owned())
                .find(|value| !value.is_empty())
        };
        let Some(url) = first(PROXY) else { return Ok(None) };
        if Exempt::parse(&first(EXEMPT).unwrap_or_default()).contains(host) {
            return Ok(None);
        }
        Self::parse(&url, host).map(Some)
    }

    /// Parses a URL, or `host:port` of an HTTP proxy.
    fn parse(url: &str, host: &ApiHost) -> Result<Self, ProxyError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let scheme = scheme.to_ascii_lowercase();
        if let Some(scheme) = UNSUPPORTED.iter().find(|known| **known == scheme) {
            return Err(ProxyError::Scheme { scheme, host: host.host.clone() });
        }
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(ProxyError::Url);
        }
        let target = Uri::from_static("https://any.invalid/");
        let intercept = Matcher::builder().https(format!("{scheme}://{rest}")).build().intercept(&target);
        let is_valid =
            |uri: &Uri| uri.authority().is_some_and(|named| ApiHost::parse(named.as_str()).is_ok());
        intercept.filter(|found| is_valid(found.uri())).map(Self).ok_or(ProxyError::Url)
    }

    /// The URL, without user name and password.
    pub(crate) fn uri(&self) -> &Uri {
        self.0.uri()
    }

    /// The value of the header that authenticates to the proxy, if it needs one.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.0.basic_auth()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri().authority().map(|authority| authority.as_str()).unwrap_or_default();
        write!(f, "{}://{authority}", self.uri().scheme_str().unwrap_or("http"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<Option<Proxy>, ProxyError> {
        let host = ApiHost::parse("acme.conductor.one").unwrap();
        Proxy::find(&host, |name| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn found(variables: &[(&str, &str)]) -> Option<String> {
        find(variables).unwrap().map(|proxy| proxy.to_string())
    }

    #[test]
    fn reads_only_the_variables_for_https() {
        let (url, proxy) = ("http://proxy:3128", Some("http://proxy:3128".to_owned()));
        assert_eq!(found(&[]), None);
        for name in ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
            assert_eq!(found(&[(name, url)]), None, "{name}");
        }
        assert_eq!(found(&[("ALL_PROXY", "socks5://127.0.0.1:9"), ("HTTPS_PROXY", url)]), proxy);
        assert_eq!(found(&[("https_proxy", url)]), proxy);
        assert_eq!(found(&[("https_proxy", "http://other:1"), ("HTTPS_PROXY", url)]), proxy);
        // An empty variable counts as not set.
        assert_eq!(found(&[("https_proxy", url), ("HTTPS_PROXY", " ")]), proxy);
        for name in ["NO_PROXY", "no_proxy"] {
            assert_eq!(found(&[("HTTPS_PROXY", url), (name, "conductor.one")]), None, "{name}");
        }
        assert_eq!(found(&[("HTTPS_PROXY", url), ("NO_PROXY", "x"), ("no_proxy", "*")]), proxy);
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let proxy =
            find(&[("HTTPS_PROXY", "HTTPS://user:hunter2@proxy.example.com:3128/path")]).unwrap().unwrap();
        assert_eq!(proxy.to_string(), "https://proxy.example.com:3128");
        assert_eq!(proxy.authorization().unwrap(), "Basic dXNlcjpodW50ZXIy");
        assert!(!format!("{proxy:?}").contains("hunter2"));
        assert_eq!(found(&[("HTTPS_PROXY", "proxy:3128")]).as_deref(), Some("http://proxy:3128"));
        assert_eq!(found(&[("HTTPS_PROXY", "http://[::1]:3128")]).as_deref(), Some("http://[::1]:3128"));
    }

    #[test]
    fn an_unsupported_or_invalid_proxy_is_an_error_if_it_is_needed() {
        let socks = "socks5://user:hunter2@proxy:1080";
        let error = find(&[("HTTPS_PROXY", socks)]).unwrap_err();
        let expected = ProxyError::Scheme { scheme: "socks5", host: "acme.conductor.one".to_owned() };
        assert_eq!(error, expected);
        assert_eq!(found(&[("HTTPS_PROXY", socks), ("NO_PROXY", "acme.conductor.one:443")]), None);
        for wrong in [
            "http://",
            "http://u:hunter2@",
            "http://a b",
            "proxy:port",
            "u:hunter2@a:b:c",
            "u:hunter2",
            "http://u:hunter2",
            "hunter2://u",
            "x://hunter2",
        ] {
            let error = find(&[("HTTPS_PROXY", wrong)]).unwrap_err();
            assert_eq!(error, ProxyError::Url);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
