//! All settings in the form that the rest of the program uses: checked, typed, safe to print.

use std::fmt;

use secrecy::SecretString;
use serde::Deserialize;

use crate::config::error::Origin;
use crate::config::setting::Setting;
use crate::config::shown::is_withheld;
use crate::config::table::ALL;
use crate::config::values::{Entry, Values};
use crate::connector;
use crate::postgres::pool::Timeouts;
use crate::retool::api::settings::ApiSettings;
use crate::retool::privileges::Scope;
use crate::server::{HealthSettings, ServerSettings};
use crate::telemetry::settings::{LogSettings, TelemetrySettings};

/// All settings, in the types of the modules that use them. `Debug` shows no secret.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Settings {
    /// The connection string of Retool's database. Contains the password; not blank, otherwise unchecked.
    #[serde(rename = "connection-string")]
    pub connection_string: SecretString,
    /// The timeouts of the database.
    pub timeouts: Timeouts,
    /// The parts of Retool's database that are read and changed.
    pub scope: Scope,
    /// Further options of the connector.
    pub options: connector::Options,
    /// Retool's REST API, if it is configured.
    #[serde(rename = "retool-api-base-url")]
    pub rest: Option<ApiSettings>,
    /// The address and security of the gRPC server, and its limits for callers.
    pub server: ServerSettings,
    /// The address of the HTTP health probes, if they are on.
    #[serde(rename = "health-check")]
    pub health: Option<HealthSettings>,
    /// Level, format and targets of logs.
    pub logs: LogSettings,
    /// Traces, metrics and logs for collectors.
    pub telemetry: TelemetrySettings,
    /// The origin of each value.
    #[serde(skip)]
    pub provenance: Provenance,
}

/// The origin of the value of each setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Provenance(Vec<InForce>);

/// A setting, its value and the origin of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    /// The name of the setting.
    pub name: &'static str,
    /// Its value.
    pub value: Shown,
    /// The source of the value; [`Origin::Default`] for a setting without a value.
    pub origin: Origin,
}

/// The value of a setting in a form that is safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The setting has no value.
    Unset,
    /// The setting has a secret value.
    Secret,
    /// The value as on a command line.
    Text(String),
    /// The value with placeholders in place of texts that may be a secret in the wrong setting.
    Withheld(String),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("(unset)"),
            Self::Secret => f.write_str("(secret)"),
            Self::Text(text) | Self::Withheld(text) => f.write_str(text),
        }
    }
}

impl Shown {
    fn of(entry: &Entry) -> Self {
        match entry.shown() {
            None => Self::Secret,
            Some(text) if is_withheld(&text) => Self::Withheld(text),
            Some(text) => Self::Text(text),
        }
    }
}

impl Provenance {
    pub(super) fn of(values: &Values) -> Self {
        let in_force = |setting: &Setting| {
            let (value, origin) = match values.get(setting.name) {
                None => (Shown::Unset, Origin::Default),
                Some(entry) => (Shown::of(entry), entry.origin.clone()),
            };
            InForce { name: setting.name, value, origin }
        };
        Self(ALL.iter().map(in_force).collect())
    }

    /// All settings, in the order of `--help`.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &InForce> {
        self.0.iter()
    }

    /// The entry of the setting with this name; `None` if there is no such setting.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&InForce> {
        self.0.iter().find(|in_force| in_force.name == name)
    }
}
