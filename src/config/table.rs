//! The declaration of every setting.

use std::ops::RangeInclusive;

/// One setting, as people meet it in every source.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
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
    /// Whether help and README pass over it.
    pub hidden: bool,
    /// The heading it stands under.
    pub group: Group,
}

/// What a value must look like. The same rule holds for flag, variable and file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// On or off.
    Switch,
    /// A whole number within bounds, both included.
    Whole {
        /// The least that is accepted.
        min: u32,
        /// The most that is accepted.
        max: u32,
    },
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// `host:port` to listen on.
    SocketAddress,
    /// An `http` or `https` URL.
    Url,
}

/// What holds when no source gives a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing does: the program cannot run without a value.
    Required,
    /// The setting is optional and stays unset.
    Unset,
    /// This value, written as a person would write it.
    Value(&'static str),
    /// It depends on the circumstances, which this text names.
    Depends(&'static str),
}

/// The heading a setting stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What is read from Retool, and how to reach it.
    Connector,
    /// What this run may do.
    Run,
    /// How callers reach this program.
    Server,
    /// Limits on the database.
    Database,
    /// What is logged, and in which shape.
    Logs,
}

impl Setting {
    /// The environment variable: `BATON_`, then the name in capitals with `_` for `-` (spec 5.1).
    pub fn variable(&self) -> String {
        format!("BATON_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

impl Kind {
    /// What a person may write, for messages and the README.
    pub fn accepted(self) -> String {
        match self {
            Self::Text => "text (in a config file, in quotes)".into(),
            Self::Switch => "true, True, TRUE, t, T, 1 or false, False, FALSE, f, F, 0".into(),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::Choice(words) => words.join(", "),
            Self::SocketAddress => "host:port, such as 127.0.0.1:8080 or [::1]:8080".into(),
            Self::Url => "an http or https URL with a host, such as https://retool.example.com".into(),
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
    /// The heading in `--help` and in the README.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Connector => "Connector options",
            Self::Run => "Run options",
            Self::Server => "Server options",
            Self::Database => "Database options",
            Self::Logs => "Log options",
        }
    }
}

/// Declares the constants and the list of them in one go: a setting left out of the list would have
/// no flag and no variable, and nothing would say so.
macro_rules! settings {
    ($($constant:ident = $setting:expr;)*) => {
        $(pub(super) const $constant: Setting = $setting;)*

        /// Every setting of this release, by heading.
        pub const ALL: &[Setting] = &[$($constant),*];
    };
}

settings! {
    CONNECTION_STRING = Setting {
        fallback: Fallback::Required,
        value_name: "CONNECTION_STRING",
        secret: true,
        ..text(
            "connection-string",
            Group::Connector,
            "How to reach Retool's Postgres database, as a postgres:// URL or as keyword=value pairs",
        )
    };
    SKIP_PAGES = switch(
        "skip-pages",
        Group::Connector,
        "Leave out Retool's apps, which the protocol calls pages",
    );
    SKIP_RESOURCES = switch(
        "skip-resources",
        Group::Connector,
        "Leave out Retool's resources: the data sources its apps use",
    );
    SKIP_DISABLED_USERS = switch(
        "skip-disabled-users",
        Group::Connector,
        "Leave out users who are disabled in Retool",
    );
    RETOOL_API_BASE_URL = Setting {
        kind: Kind::Url,
        value_name: "URL",
        ..text(
            "retool-api-base-url",
            Group::Connector,
            "Where Retool's REST API answers, for accounts and their state; goes with retool-api-token",
        )
    };
    RETOOL_API_TOKEN = Setting {
        value_name: "TOKEN",
        secret: true,
        ..text(
            "retool-api-token",
            Group::Connector,
            "Token for Retool's REST API; goes with retool-api-base-url",
        )
    };
    PROVISIONING = Setting {
        short: Some('p'),
        ..switch(
            "provisioning",
            Group::Run,
            "Allow changes in Retool: grants, revocations, accounts and actions",
        )
    };
    TICKETING = switch("ticketing", Group::Run, "Turn on the ticketing half of the protocol");
    LISTEN = Setting {
        kind: Kind::SocketAddress,
        fallback: Fallback::Value("127.0.0.1:8080"),
        value_name: "HOST:PORT",
        ..text("listen", Group::Server, "Address on which the gRPC server accepts connections")
    };
    STATEMENT_TIMEOUT_SECONDS = Setting {
        kind: Kind::Whole { min: 1, max: 3600 },
        fallback: Fallback::Value("60"),
        value_name: "SECONDS",
        ..text(
            "statement-timeout-seconds",
            Group::Database,
            "How long one SQL statement may run before the database cancels it",
        )
    };
    CONNECT_TIMEOUT_SECONDS = Setting {
        kind: Kind::Whole { min: 1, max: 300 },
        fallback: Fallback::Value("10"),
        value_name: "SECONDS",
        ..text(
            "connect-timeout-seconds",
            Group::Database,
            "How long to wait for a database connection; connect_timeout in the connection string wins",
        )
    };
    LOG_LEVEL = Setting {
        kind: Kind::Choice(&["debug", "info", "warn", "error", "dpanic", "panic", "fatal"]),
        fallback: Fallback::Value("info"),
        value_name: "LEVEL",
        ..text(
            "log-level",
            Group::Logs,
            "The least severity that is logged; dpanic, panic and fatal mean error",
        )
    };
    LOG_FORMAT = Setting {
        kind: Kind::Choice(&["json", "console"]),
        fallback: Fallback::Depends("console on a terminal, else json"),
        value_name: "FORMAT",
        ..text("log-format", Group::Logs, "Shape of a log line on standard error")
    };
}

/// An optional text, the start of most declarations.
const fn text(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting {
        name,
        short: None,
        kind: Kind::Text,
        fallback: Fallback::Unset,
        help,
        value_name: "TEXT",
        secret: false,
        hidden: false,
        group,
    }
}

/// A switch that is off until someone turns it on.
const fn switch(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting {
        kind: Kind::Switch,
        fallback: Fallback::Value("false"),
        value_name: "BOOL",
        ..text(name, group, help)
    }
}
