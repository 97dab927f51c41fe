//! Where ConductorOne lets a hosted connector connect to.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::proto::connectorapi::{EgressMode, ServedPolicyEnvelope};

/// The version of the envelope, and of its section, that is understood.
const VERSION: u32 = 1;

/// Where a hosted connector may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EgressPolicy {
    /// Names of hosts in lower case.
    hosts: BTreeSet<String>,
    /// HTTP is allowed with TLS only.
    https_only: bool,
    /// What is not allowed is refused, and not only reported.
    enforced: bool,
}

/// What a policy says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is allowed.
    Allowed,
    /// It is not allowed, and reported.
    Reported,
    /// It is not allowed, and refused.
    Refused,
}

impl EgressPolicy {
    /// Nothing is allowed.
    const NOTHING: Self = Self { hosts: BTreeSet::new(), https_only: true, enforced: true };

    /// The policy in an envelope that came with this version of the configuration. One that is not understood, or
    /// belongs to another version, allows nothing.
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
            tracing::warn!(entries = invalid, enforced, "the egress policy has entries that name no host");
            if enforced {
                return Self::NOTHING;
            }
        }
        Self { hosts, https_only: section.https_only, enforced }
    }

    /// What it says of a connection to this host.
    pub(crate) fn connection(&self, host: &str) -> Verdict {
        self.verdict(self.hosts.contains(&normal(host)))
    }

    /// What it says of HTTP requests to this host, with TLS or without.
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

/// The host that an entry names; nothing where it is none, or an address, or a pattern.
fn host_of_entry(entry: &str) -> Option<String> {
    let host = normal(entry);
    let is_name = !host.is_empty() && !host.contains(['*', '/', ':', '[', ']']);
    (is_name && host.parse::<IpAddr>().is_err()).then_some(host)
}

fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}
