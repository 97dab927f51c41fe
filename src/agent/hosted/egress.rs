//! The hosts that ConductorOne allows a hosted connector to connect to.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::proto::connectorapi::{EgressMode, ServedPolicyEnvelope};

/// The supported version of the envelope and of its section.
const VERSION: u32 = 1;

/// The hosts that a hosted connector can connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EgressPolicy {
    /// Host names in lower case.
    hosts: BTreeSet<String>,
    /// HTTP needs TLS.
    https_only: bool,
    /// Other connections are refused, not only reported.
    enforced: bool,
}

/// The verdict of a policy about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is allowed.
    Allowed,
    /// It is not allowed; a warning reports it.
    Reported,
    /// It is not allowed and must not be made.
    Refused,
}

impl EgressPolicy {
    /// A policy that allows nothing.
    const NOTHING: Self = Self { hosts: BTreeSet::new(), https_only: true, enforced: true };

    /// The policy of an envelope that came with this version of the configuration. A policy of an unsupported
    /// version, or for another configuration, allows nothing.
    pub(crate) fn of(envelope: &ServedPolicyEnvelope, config_version: &str) -> Self {
        let belongs = !envelope.config_version.is_empty() && envelope.config_version == config_version;
        let section = envelope.egress.as_ref().filter(|section| section.schema_version == VERSION);
        let Some(section) = section.filter(|_| belongs && envelope.envelope_version == VERSION) else {
            return Self::NOTHING;
        };
        let enforced = section.mode() == EgressMode::Enforce;
        let mut hosts = BTreeSet::new();
        let mut invalid = 0_usize;
        for entry in &section.allowed_hosts {
            match host_of_entry(entry) {
                Some(host) => drop(hosts.insert(host)),
                None => invalid += 1,
            }
        }
        if invalid > 0 {
            tracing::warn!(
                entries = invalid,
                enforced,
                "the egress policy has entries that are not host names"
            );
            if enforced {
                return Self::NOTHING;
            }
        }
        Self { hosts, https_only: section.https_only, enforced }
    }

    /// The verdict on a connection to this host.
    pub(crate) fn connection(&self, host: &str) -> Verdict {
        self.verdict(self.hosts.contains(&normal(host)))
    }

    /// The verdict on HTTP requests to this host, with or without TLS.
    pub(crate) fn http(&self, host: &str, tls: bool) -> Verdict {
        self.verdict(self.hosts.contains(&normal(host)) && (tls || !self.https_only))
    }

    fn verdict(&self, allowed: bool) -> Verdict {
        match (allowed, self.enforced) {
            (true, _) => Verdict::Allowed,
            (false, false) => Verdict::Reported,
            (false, true) => Verdict::Refused,
        }
    }
}

/// The host name of an entry; `None` for an address, a pattern, or anything else.
fn host_of_entry(entry: &str) -> Option<String> {
    let host = normal(entry);
    let is_name = !host.is_empty() && !host.contains(['*', '/', ':', '[', ']']);
    (is_name && host.parse::<IpAddr>().is_err()).then_some(host)
}

fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}
