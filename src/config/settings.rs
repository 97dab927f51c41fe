//! The settings as the rest of the program sees them: checked, typed, safe to print.

use std::time::Duration;

use secrecy::SecretString;

use super::error::{Error, Warning};
use super::layers::{Layers, Text, invalid};
use super::table::{
    CONNECT_TIMEOUT_SECONDS, CONNECTION_STRING, LISTEN, LOG_FORMAT, LOG_LEVEL, PROVISIONING,
    RETOOL_API_BASE_URL, RETOOL_API_TOKEN, SKIP_DISABLED_USERS, SKIP_PAGES, SKIP_RESOURCES,
    STATEMENT_TIMEOUT_SECONDS, Setting, TICKETING,
};
use super::values::{BaseUrl, ListenAddress, LogFormat, LogLevel};

/// Every setting. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach Retool's database. Holds the password; not blank, otherwise unchecked.
    pub connection_string: SecretString,
    /// What the connector leaves out.
    pub features: Features,
    /// Retool's REST API, where it is set up.
    pub rest: Option<RestSettings>,
    /// Whether anything in Retool may be changed.
    pub provisioning: bool,
    /// Whether the ticketing half of the protocol is on.
    pub ticketing: bool,
    /// Where the gRPC server listens.
    pub listen: ListenAddress,
    /// How long to wait for the database.
    pub timeouts: Timeouts,
    /// What is logged, and in which shape.
    pub logs: LogSettings,
}

/// What the connector leaves out of its listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Leave out Retool's apps.
    pub skip_pages: bool,
    /// Leave out Retool's resources.
    pub skip_resources: bool,
    /// Leave out disabled users.
    pub skip_disabled_users: bool,
}

/// How to reach Retool's REST API. Both or neither is given (spec 4.4).
#[derive(Clone, Debug)]
pub struct RestSettings {
    /// Where it answers.
    pub base_url: BaseUrl,
    /// What it wants to see. Visible ASCII only, so it fits a header.
    pub token: SecretString,
}

/// How long to wait for the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one statement.
    pub statement: Duration,
    /// For a connection, unless the connection string has a `connect_timeout`.
    pub connect: Duration,
}

/// What is logged, and in which shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severity.
    pub level: LogLevel,
    /// The shape of a line.
    pub format: LogFormat,
}

impl Settings {
    pub(super) fn read(
        layers: &Layers,
        stdout_is_terminal: bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Error> {
        Ok(Self {
            connection_string: layers.required_text(&CONNECTION_STRING)?.value.into(),
            features: Features::read(layers)?,
            rest: RestSettings::read(layers, warnings)?,
            provisioning: layers.switch(&PROVISIONING)?,
            ticketing: layers.switch(&TICKETING)?,
            listen: listen(layers)?,
            timeouts: Timeouts::read(layers)?,
            logs: LogSettings::read(layers, stdout_is_terminal, warnings)?,
        })
    }
}

impl Features {
    fn read(layers: &Layers) -> Result<Self, Error> {
        Ok(Self {
            skip_pages: layers.switch(&SKIP_PAGES)?,
            skip_resources: layers.switch(&SKIP_RESOURCES)?,
            skip_disabled_users: layers.switch(&SKIP_DISABLED_USERS)?,
        })
    }
}

impl RestSettings {
    fn read(layers: &Layers, warnings: &mut Vec<Warning>) -> Result<Option<Self>, Error> {
        let (url, token) = match (layers.text(&RETOOL_API_BASE_URL)?, layers.text(&RETOOL_API_TOKEN)?) {
            (Some(url), Some(token)) => (url, token),
            (Some(url), None) => return Err(alone(&RETOOL_API_BASE_URL, url, &RETOOL_API_TOKEN)),
            (None, Some(token)) => return Err(alone(&RETOOL_API_TOKEN, token, &RETOOL_API_BASE_URL)),
            (None, None) => return Ok(None),
        };
        let base_url = BaseUrl::parse(&url.value)
            .map_err(|problem| invalid(&RETOOL_API_BASE_URL, &url.origin, problem))?;
        // A token out of a file often brings the file's last line break along.
        let secret = token.value.trim();
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = "the token has a space or another character that a header cannot carry".into();
            return Err(invalid(&RETOOL_API_TOKEN, &token.origin, problem));
        }
        if let Some(host) = base_url.exposed_host() {
            warnings.push(Warning::ClearText { host: host.to_owned() });
        }
        Ok(Some(Self { token: secret.into(), base_url }))
    }
}

impl Timeouts {
    fn read(layers: &Layers) -> Result<Self, Error> {
        let seconds = |setting| layers.whole(setting).map(|seconds| Duration::from_secs(seconds.into()));
        Ok(Self {
            statement: seconds(&STATEMENT_TIMEOUT_SECONDS)?,
            connect: seconds(&CONNECT_TIMEOUT_SECONDS)?,
        })
    }
}

impl LogSettings {
    /// An unknown word never stops the program, as it did not stop the former one; it is warned of.
    fn read(layers: &Layers, stdout_is_terminal: bool, warnings: &mut Vec<Warning>) -> Result<Self, Error> {
        let level = match layers.text(&LOG_LEVEL)? {
            None => LogLevel::Info,
            Some(text) => LogLevel::parse(&text.value).unwrap_or_else(|| {
                warnings.push(unknown_word(&LOG_LEVEL, text, "info"));
                LogLevel::Info
            }),
        };
        let format = match layers.text(&LOG_FORMAT)? {
            None if stdout_is_terminal => LogFormat::Console,
            None => LogFormat::Json,
            Some(text) => LogFormat::parse(&text.value).unwrap_or_else(|| {
                warnings.push(unknown_word(&LOG_FORMAT, text, "json"));
                LogFormat::Json
            }),
        };
        Ok(Self { level, format })
    }
}

fn listen(layers: &Layers) -> Result<ListenAddress, Error> {
    let Text { value, origin } = layers.required_text(&LISTEN)?;
    ListenAddress::parse(value.trim()).map_err(|problem| invalid(&LISTEN, &origin, problem))
}

fn alone(given: &Setting, text: Text, missing: &Setting) -> Error {
    Error::Alone {
        given: given.name,
        origin: text.origin,
        missing: missing.name,
        variable: missing.variable(),
    }
}

fn unknown_word(setting: &Setting, text: Text, used: &'static str) -> Warning {
    Warning::UnknownWord {
        name: setting.name,
        origin: text.origin,
        word: text.value,
        used,
        accepted: setting.kind.accepted(),
    }
}
