//! What a declaration of a setting consists of.

use std::fmt;
use std::ops::RangeInclusive;

use crate::config::sources::Sources;

/// One setting, as people meet it in every source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// The flag without its dashes; also the key in the config file.
    pub name: &'static str,
    /// The one-letter flag, where there is one.
    pub short: Option<char>,
    /// What a value must look like.
    pub kind: Kind,
    /// What holds when no source gives a value.
    pub fallback: Fallback,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// How help shows the value, in capitals.
    pub value_name: &'static str,
    /// Whether the value may never be shown: not in messages, not in logs, not in `Debug`.
    pub secret: bool,
    /// Whether it keeps callers out. An empty value is an error then, where it would mean none for others: it comes
    /// from a variable that somebody forgot to fill.
    pub protects: bool,
    /// Whether help and documentation leave it out.
    pub hidden: bool,
    /// The heading it stands under.
    pub group: Group,
    /// What it has to do with another setting.
    pub relation: Option<Relation>,
    /// The switch that leaves this setting without effect while it is on.
    pub overruled_by: Option<&'static str>,
    /// Whether it still does what it says.
    pub standing: Standing,
}

/// Whether a setting still does what it says. Those that do not are kept for the command lines of the former program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does.
    Used,
    /// It does, and another setting does it better: this one.
    Deprecated(&'static str),
    /// It is accepted and has no effect, for this reason.
    Idle(&'static str),
    /// It is refused, for this reason.
    Refused(&'static str),
}

/// What a setting has to do with another one, which is given by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Both are given or neither.
    GoesWith(&'static str),
    /// It means nothing without the other.
    Needs(&'static str),
    /// Only one of them can be given.
    Excludes(&'static str),
}

/// What a value must look like. The same rule holds for flag, variable and file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// Several texts.
    Texts,
    /// A number of workers: -1 for as many as the machine suggests.
    Workers,
    /// On or off.
    Switch,
    /// A whole number within bounds, both included.
    Whole {
        /// The least that is accepted.
        min: u32,
        /// The most that is accepted.
        max: u32,
    },
    /// One of these words, in any case. Another word counts as the default or, where that depends on the
    /// circumstances, as the first of these.
    Choice(&'static [&'static str]),
    /// `host:port` or `unix:/path` to listen on.
    SocketAddress,
    /// `host:port`, to listen on or to be reached.
    HostAndPort,
    /// A name or an IP address, without a port.
    Host,
    /// The path of a file.
    Path,
    /// Places for log lines, more than one of them if wanted.
    LogTargets,
    /// An `http` or `https` URL.
    Url,
    /// A point in time.
    Time,
    /// A JSON object.
    Json,
}

/// The most workers that a sync can have.
pub(super) const MOST_WORKERS: i64 = 256;

/// What holds when no source gives a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fallback {
    /// Nothing does: the program cannot run without a value.
    Required,
    /// The setting is optional and stays unset.
    Unset,
    /// This value.
    Value(DefaultValue),
    /// It depends on the circumstances.
    Depends {
        /// The circumstances in words.
        text: &'static str,
        /// The value in these circumstances; none where the setting stays unset.
        value: fn(&Sources) -> Option<String>,
    },
}

/// A default, taken from the settings type that has the setting. Printed as a person would write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultValue {
    /// On or off.
    Switch(bool),
    /// A number.
    Whole(u32),
    /// Anything else.
    Text(&'static str),
}

/// The heading a setting stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// What is read from Retool, and how to reach it.
    Connector,
    /// What this run may do.
    Run,
    /// How ConductorOne is served.
    Service,
    /// How a connector that ConductorOne hosts is called.
    Hosted,
    /// What a sync reads and where it goes.
    Sync,
    /// The one change or question that a run without a command makes in place of a sync.
    Change,
    /// How callers reach this program.
    Server,
    /// What callers may take from it.
    Limits,
    /// How long the database may take.
    Database,
    /// The HTTP endpoints for probes.
    Health,
    /// What is logged, in which shape, and where to.
    Logs,
    /// Traces, metrics and logs for those who collect them.
    Telemetry,
}

impl Setting {
    /// The environment variable: `BATON_`, then the name in capitals with `_` for `-`.
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
    /// What a person may write, for messages and the documentation.
    pub(crate) fn accepted(self) -> String {
        match self {
            Self::Text => "text (in a config file, in quotes)".into(),
            Self::Texts => "texts, separated by commas or, in a config file, as a list".into(),
            Self::Workers => format!("-1, or a whole number from 0 to {MOST_WORKERS}"),
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
            Self::Time => "a time with its zone, such as 2026-01-31T12:00:00Z".into(),
            Self::Json => r#"a JSON object, such as {"key": "value"}"#.into(),
        }
    }

    /// The bounds of a number; everything for the kinds that are not numbers.
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
