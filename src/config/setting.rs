//! The parts of the declaration of a setting.

use std::fmt;
use std::ops::RangeInclusive;

use crate::config::sources::Sources;

/// One setting, with its names in all sources.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// The flag without its dashes; also the key in the config file.
    pub name: &'static str,
    /// The one-letter flag, if any.
    pub short: Option<char>,
    /// The valid values.
    pub kind: Kind,
    /// The value if no source sets the setting.
    pub fallback: Fallback,
    /// The description in one sentence.
    pub help: &'static str,
    /// The placeholder for the value in help, in capitals.
    pub value_name: &'static str,
    /// Values that shells complete, besides those of the kind.
    pub suggested: &'static [&'static str],
    /// Whether the value must never be shown: not in messages, in logs or in `Debug`.
    pub secret: bool,
    /// Whether this is a security setting: it restricts callers, restricts the peers that the program trusts,
    /// or prevents changes. An empty value is an error, because it usually comes from a variable without a
    /// value. For other settings, an empty value counts as not set; an empty switch is always an error.
    pub protects: bool,
    /// Whether help and documentation leave it out.
    pub hidden: bool,
    /// The heading in help.
    pub group: Group,
    /// The relation to another setting.
    pub relation: Option<Relation>,
    /// The switch that makes this setting ineffective while it is on.
    pub overruled_by: Option<&'static str>,
    /// Whether the setting still has an effect.
    pub status: SettingStatus,
}

/// Whether a setting still has an effect. Ineffective settings are kept for command lines of the Go
/// connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingStatus {
    /// It has an effect.
    Used,
    /// It has an effect, but is replaced by this other setting.
    Deprecated(&'static str),
    /// It is accepted and has no effect, for this reason.
    Idle(&'static str),
    /// It is refused, for this reason.
    Refused(&'static str),
}

/// The relation to another setting, which is given by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Both are set or neither.
    GoesWith(&'static str),
    /// It has no effect without the other setting.
    Needs(&'static str),
    /// Only one of them may be set.
    Excludes(&'static str),
}

/// The valid values. The same rule applies to flag, variable and file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// Several texts.
    Texts,
    /// A number of workers; -1 derives it from the processors of the machine.
    Workers,
    /// On or off.
    Switch,
    /// A whole number within inclusive bounds.
    Whole {
        /// The minimum.
        min: u32,
        /// The maximum.
        max: u32,
    },
    /// One of these keywords, in any case. Any other keyword is treated as the default or, if the default
    /// depends on the circumstances, as the first keyword.
    Choice(&'static [&'static str]),
    /// `host:port` or `unix:/path` of a listener.
    SocketAddress,
    /// `host:port` of a listener or of a server.
    HostAndPort,
    /// A name or an IP address, without a port.
    Host,
    /// The path of a file.
    Path,
    /// One or more targets of log lines.
    LogTargets,
    /// An `http` or `https` URL.
    Url,
    /// A point in time.
    Time,
    /// A JSON object.
    Json,
}

/// The most workers of a sync.
pub(super) const MAX_WORKERS: i64 = 256;

/// The value if no source sets the setting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fallback {
    /// None: the program cannot run without a value.
    Required,
    /// The setting is optional and stays unset.
    Unset,
    /// This value.
    Value(DefaultValue),
    /// A value that depends on the circumstances.
    Depends {
        /// A description of the circumstances.
        text: &'static str,
        /// The value in these circumstances; `None` if the setting stays unset.
        value: fn(&Sources) -> Option<String>,
    },
}

/// A default from the settings type with this setting. Printed in the form that users write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultValue {
    /// On or off.
    Switch(bool),
    /// A number.
    Whole(u32),
    /// Anything else.
    Text(&'static str),
}

/// The heading of a setting in help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// The data that is read from Retool, and the connection to it.
    Connector,
    /// The changes that this run may make.
    Run,
    /// Service mode for ConductorOne.
    Service,
    /// The callers of a connector that ConductorOne hosts.
    Hosted,
    /// The source and destination of a sync.
    Sync,
    /// The one-shot change or query that a run without a command makes instead of a sync.
    Change,
    /// The listener and its security.
    Server,
    /// The limits for callers.
    Limits,
    /// Timeouts of the database.
    Database,
    /// The HTTP endpoints for probes.
    Health,
    /// Level, format and targets of logs.
    Logs,
    /// Traces, metrics and logs for collectors.
    Telemetry,
}

impl Setting {
    /// The environment variable: `BATON_` and the name in capitals, with `_` for `-`.
    pub(crate) fn variable(&self) -> String {
        format!("BATON_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(value) => value.fmt(f),
            Self::Whole(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Kind {
    /// The valid values, for messages and the documentation.
    pub(crate) fn accepted(self) -> String {
        match self {
            Self::Text => "text (in a config file, in quotes)".into(),
            Self::Texts => "texts, separated by commas or, in a config file, as a list".into(),
            Self::Workers => format!("-1, or a whole number from 0 to {MAX_WORKERS}"),
            Self::Switch => "true, True, TRUE, t, T, 1 or false, False, FALSE, f, F, 0".into(),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::Choice(words) => words.join(", "),
            Self::SocketAddress => "host:port, such as 127.0.0.1:8080 or [::1]:8080, \
                 or unix:/path, such as unix:/run/retool.sock"
                .into(),
            Self::HostAndPort => "host:port, such as 127.0.0.1:4317 or [::1]:4317".into(),
            Self::Host => "a host name or an IP address, such as localhost, 127.0.0.1 or ::1".into(),
            Self::Path => "the path of a file (in a config file, in quotes)".into(),
            Self::LogTargets => "stderr, stdout and paths of files, separated by commas \
                 or, in a config file, as a list"
                .into(),
            Self::Url => "an http or https URL with a host, such as https://retool.example.com".into(),
            Self::Time => "a time with a time zone, such as 2026-01-31T12:00:00Z".into(),
            Self::Json => r#"a JSON object, such as {"key": "value"}"#.into(),
        }
    }

    /// The bounds of a number; the full range for kinds that are not numbers.
    pub(super) fn bounds(self) -> RangeInclusive<u32> {
        match self {
            Self::Whole { min, max } => min..=max,
            _ => 0..=u32::MAX,
        }
    }
}

impl Group {
    /// The heading in `--help`.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Connector => "Connector options",
            Self::Run => "Run options",
            Self::Service => "ConductorOne options",
            Self::Hosted => "Function options",
            Self::Sync => "Sync options",
            Self::Change => "One-shot change options",
            Self::Server => "Server options",
            Self::Limits => "Limit options",
            Self::Database => "Database options",
            Self::Health => "Health options",
            Self::Logs => "Log options",
            Self::Telemetry => "Telemetry options",
        }
    }
}
