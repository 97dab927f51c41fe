//! Every setting as the rest of the program sees it: checked, typed, safe to print.

use std::fmt;

use secrecy::SecretString;
use serde::Deserialize;

use crate::config::error::Origin;
use crate::config::setting::Setting;
use crate::config::table::ALL;
use crate::config::values::Values;
use crate::connector;
use crate::postgres::pool::Timeouts;
use crate::retool::api::settings::ApiSettings;
use crate::retool::privileges::Scope;
use crate::server::{HealthSettings, ServerSettings};
use crate::telemetry::settings::{LogSettings, TelemetrySettings};

/// Every setting, in the types of the modules that use them. `Debug` shows no secret.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Settings {
    /// How to reach Retool's database. Holds the password; not blank, otherwise unchecked.
    #[serde(rename = "connection-string")]
    pub connection_string: SecretString,
    /// How long to wait for the database.
    pub timeouts: Timeouts,
    /// What of Retool's database is read and changed.
    pub scope: Scope,
    /// What else the connector leaves out or turns on.
    pub options: connector::Options,
    /// Retool's REST API, where it is set up.
    #[serde(rename = "retool-api-base-url")]
    pub rest: Option<ApiSettings>,
    /// How callers reach the gRPC server, and what they may take from it.
    pub server: ServerSettings,
    /// Where probes are answered over HTTP, where that is wanted.
    #[serde(rename = "health-check")]
    pub health: Option<HealthSettings>,
    /// What is logged, in which shape, and where to.
    pub logs: LogSettings,
    /// What others collect.
    pub telemetry: TelemetrySettings,
    /// Where each of these values came from.
    #[serde(skip)]
    pub provenance: Provenance,
}

/// Where the value of each setting came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Provenance(Vec<InForce>);

/// A setting, its value and where that came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    /// The name of the setting.
    pub name: &'static str,
    /// Its value.
    pub value: Shown,
    /// Who gave the value; [`Origin::Default`] for a setting that has none.
    pub origin: Origin,
}

/// The value of a setting as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// There is none.
    Unset,
    /// There is one, and it is secret.
    Secret,
    /// As a person would write it on a command line.
    Text(String),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("(unset)"),
            Self::Secret => f.write_str("(secret)"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Provenance {
    pub(super) fn of(values: &Values) -> Self {
        let in_force = |setting: &Setting| {
            let (value, origin) = match values.get(setting.name) {
                None => (Shown::Unset, Origin::Default),
                Some(entry) => (entry.shown().map_or(Shown::Secret, Shown::Text), entry.origin.clone()),
            };
            InForce { name: setting.name, value, origin }
        };
        Self(ALL.iter().map(in_force).collect())
    }

    /// Every setting, in the order of `--help`.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &InForce> {
        self.0.iter()
    }

    /// What is in force for the setting of this name; `None` when there is no such setting.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&InForce> {
        self.0.iter().find(|in_force| in_force.name == name)
    }
}
