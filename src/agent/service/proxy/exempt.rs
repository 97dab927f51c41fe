//! The hosts without a proxy, as `NO_PROXY` lists them. The rules are those of Go's standard library, which
//! differ from curl's: entries may have a port, and `.example.com` does not include `example.com`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::agent::service::api_host::ApiHost;

/// The hosts that are reached without a proxy.
#[derive(Debug)]
pub(super) struct Exempt(Vec<Entry>);

#[derive(Debug)]
enum Entry {
    All,
    Network(IpNet),
    Address(IpAddr, Port),
    /// The name with a dot in front, and whether the name itself belongs to its subdomains.
    Domain(String, bool, Port),
}

/// The port of an entry; `None` means every port.
type Port = Option<String>;

impl Exempt {
    /// Parses entries that are separated by commas. Invalid entries match no host.
    pub(super) fn parse(list: &str) -> Self {
        Self(list.split(',').filter_map(|entry| Entry::parse(&entry.trim().to_ascii_lowercase())).collect())
    }

    /// Whether this host is reached without a proxy. This is always true for a loopback address.
    pub(super) fn contains(&self, host: &ApiHost) -> bool {
        let name = host.host.to_ascii_lowercase();
        let address = name.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        if name == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.0.iter().any(|entry| entry.has(&name, address, &host.port().to_string()))
    }
}

impl Entry {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = entry.parse() {
            return Some(Self::Network(network));
        }
        // Several colons without brackets are an IPv6 address without a port.
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
            _ => (entry, ""),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = (!port.is_empty()).then(|| port.to_owned());
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match host.strip_prefix('.') {
            _ if host.is_empty() => None,
            Some(_) => Some(Self::Domain(host.to_owned(), false, port)),
            None => Some(Self::Domain(format!(".{host}"), true, port)),
        }
    }

    fn has(&self, name: &str, address: Option<IpAddr>, to: &str) -> bool {
        let matches = |port: &Port| port.as_deref().is_none_or(|port| port == to);
        match self {
            Self::All => true,
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Address(exempt, port) => address == Some(*exempt) && matches(port),
            Self::Domain(suffix, itself, port) => {
                (name.ends_with(suffix) || (*itself && name == &suffix[1..])) && matches(port)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn exempts(list: &str, host: &str) -> bool {
        Exempt::parse(list).contains(&ApiHost::parse(host).unwrap())
    }

    #[test]
    fn a_domain_includes_its_subdomains() {
        for list in
            ["conductor.one", "Conductor.One", "x, conductor.one ,y", "conductor.one:443", "conductor.one:"]
        {
            assert!(exempts(list, "acme.conductor.one") && exempts(list, "conductor.one"), "{list}");
            assert!(
                !exempts(list, "badconductor.one") && !exempts(list, "conductor.one.example.com"),
                "{list}"
            );
        }
        for list in [".conductor.one", "*.conductor.one", "*.conductor.one:443"] {
            assert!(exempts(list, "acme.conductor.one") && exempts(list, "a.b.conductor.one"), "{list}");
            assert!(!exempts(list, "conductor.one"), "{list}");
        }
    }

    #[test]
    fn an_entry_with_a_port_is_for_this_port_only() {
        assert!(exempts("conductor.one:8443", "acme.conductor.one:8443"));
        assert!(!exempts("conductor.one:8443", "acme.conductor.one"));
        assert!(exempts("10.1.2.3:8443", "10.1.2.3:8443") && !exempts("10.1.2.3:8443", "10.1.2.3"));
        assert!(exempts("[fd00::1]:8443", "[fd00::1]:8443") && !exempts("[fd00::1]:8443", "[fd00::1]"));
        // The name of a port is not its number.
        assert!(!exempts("conductor.one:https", "acme.conductor.one"));
    }

    #[test]
    fn addresses_match_addresses_and_networks() {
        for (list, host) in [
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.9.9.9/8", "10.1.2.3:8443"),
            ("10.1.2.3", "10.1.2.3"),
            ("fd00::/8", "[fd00::1]"),
            ("fd00::1", "[fd00::1]:8443"),
            ("[fd00::1]", "[fd00::1]"),
        ] {
            assert!(exempts(list, host), "{list} {host}");
        }
        for (list, host) in [("10.0.0.0/8", "11.1.2.3"), ("10.1.2.3", "10.1.2.30"), ("fd00::/8", "10.1.2.3")]
        {
            assert!(!exempts(list, host), "{list} {host}");
        }
    }

    #[test]
    fn a_star_matches_every_host_and_an_invalid_entry_none() {
        assert!(exempts("*", "acme.conductor.one") && exempts("a, *", "10.1.2.3"));
        for list in ["", ",", " , ", ":443", "*:443x", "a*", "[", "acme.*"] {
            assert!(!exempts(list, "acme.conductor.one") && !exempts(list, "10.1.2.3"), "{list}");
        }
    }

    #[test]
    fn a_loopback_address_never_has_a_proxy() {
        for host in ["localhost", "LOCALHOST:8443", "127.0.0.1", "127.9.9.9:1", "[::1]:8443"] {
            assert!(exempts("", host), "{host}");
        }
        assert!(!exempts("", "localhost.example.com") && !exempts("", "128.0.0.1"));
    }
}
