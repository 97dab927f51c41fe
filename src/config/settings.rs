//! The settings as the rest of the program sees them: checked, typed, safe to print.

mod health;
mod logs;
mod server;
mod sync;
mod telemetry;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::error::{Error, Warning};
use super::layers::{Layers, Text, invalid};
use super::setting::Setting;
use super::table::{
    CONNECT_TIMEOUT_SECONDS, CONNECTION_STRING, DRY_RUN, HEALTH_CHECK, HTTP_TIMEOUT_SECONDS, MANAGED_GROUPS,
    POOL_WAIT_SECONDS, PROVISIONING, RETOOL_API_BASE_URL, RETOOL_API_TOKEN, SKIP_DISABLED_USERS, SKIP_PAGES,
    SKIP_RESOURCES, STATEMENT_TIMEOUT_SECONDS, TICKETING,
};
use super::values::BaseUrl;

pub use health::HealthSettings;
pub use logs::LogSettings;
pub use server::{LimitSettings, ServerSettings, TlsSettings};
pub use sync::SyncSettings;
pub use telemetry::{CollectorTls, TelemetrySettings};

/// Every setting. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach Retool's database. Holds the password; not blank, otherwise unchecked.
    pub connection_string: SecretString,
    /// What the connector leaves out.
    pub features: Features,
    /// Retool's REST API, where it is set up.
    pub rest: Option<RestSettings>,
    /// Whether anything in Retool may be changed, and how.
    pub provisioning: Provisioning,
    /// Whether the ticketing half of the protocol is on.
    pub ticketing: bool,
    /// How callers reach the gRPC server, and what they may take from it.
    pub server: ServerSettings,
    /// Where probes are answered over HTTP, where that is wanted.
    pub health: Option<HealthSettings>,
    /// How long to wait for the database.
    pub timeouts: Timeouts,
    /// What is logged, in which shape, and where to.
    pub logs: LogSettings,
    /// What others collect.
    pub telemetry: TelemetrySettings,
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

/// What a role for the connector need not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Retool's apps.
    pub pages: bool,
    /// Retool's resources.
    pub resources: bool,
    /// Groups that give single users access to pages.
    pub managed_groups: bool,
}

/// Whether anything in Retool may be changed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provisioning {
    /// Changes are allowed.
    pub enabled: bool,
    /// Changes are described and not made.
    pub dry_run: bool,
    /// Single users are given access to pages.
    pub managed_groups: bool,
}

/// How to reach Retool's REST API. Both or neither is given (spec 4.4).
#[derive(Clone, Debug)]
pub struct RestSettings {
    /// Where it answers.
    pub base_url: BaseUrl,
    /// What it wants to see. Visible ASCII only, so it fits a header.
    pub token: SecretString,
    /// Longest time for one request (D36).
    pub timeout: Duration,
}

/// How long to wait for the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one statement.
    pub statement: Duration,
    /// For a new connection, unless the connection string has a `connect_timeout`.
    pub connect: Duration,
    /// For a connection that other calls have in use.
    pub pool: Duration,
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
            provisioning: Provisioning::read(layers)?,
            ticketing: layers.switch(&TICKETING)?,
            server: ServerSettings::read(layers)?,
            health: health(layers)?,
            timeouts: Timeouts::read(layers)?,
            logs: LogSettings::read(layers, stdout_is_terminal, warnings)?,
            telemetry: TelemetrySettings::read(layers)?,
        })
    }
}

impl LeftOut {
    pub(super) fn read(layers: &Layers) -> Result<Self, Error> {
        Ok(Self {
            pages: layers.switch(&SKIP_PAGES)?,
            resources: layers.switch(&SKIP_RESOURCES)?,
            managed_groups: !layers.switch(&MANAGED_GROUPS)?,
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

impl Provisioning {
    fn read(layers: &Layers) -> Result<Self, Error> {
        Ok(Self {
            enabled: layers.switch(&PROVISIONING)?,
            dry_run: layers.switch(&DRY_RUN)?,
            managed_groups: layers.switch(&MANAGED_GROUPS)?,
        })
    }
}

/// Longest time that one request to the REST API may take, whatever the setting says (D36).
const LONGEST_REQUEST: Duration = Duration::from_secs(30);

impl RestSettings {
    fn read(layers: &Layers, warnings: &mut Vec<Warning>) -> Result<Option<Self>, Error> {
        let timeout = seconds(layers, &HTTP_TIMEOUT_SECONDS)?.min(LONGEST_REQUEST);
        let Some((url, token)) = pair(layers, &RETOOL_API_BASE_URL, &RETOOL_API_TOKEN)? else {
            return Ok(None);
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
        Ok(Some(Self { token: secret.into(), base_url, timeout }))
    }
}

impl Timeouts {
    fn read(layers: &Layers) -> Result<Self, Error> {
        Ok(Self {
            statement: seconds(layers, &STATEMENT_TIMEOUT_SECONDS)?,
            connect: seconds(layers, &CONNECT_TIMEOUT_SECONDS)?,
            pool: seconds(layers, &POOL_WAIT_SECONDS)?,
        })
    }
}

/// Port and address are checked even where the switch leaves them without effect.
fn health(layers: &Layers) -> Result<Option<HealthSettings>, Error> {
    let settings = HealthSettings::read(layers)?;
    Ok(layers.switch(&HEALTH_CHECK)?.then_some(settings))
}

/// Two texts that are of use only together: both, or neither.
fn pair(layers: &Layers, first: &Setting, second: &Setting) -> Result<Option<(Text, Text)>, Error> {
    let alone = |given: &Setting, text: Text, missing: &Setting| Error::Alone {
        given: given.name,
        origin: text.origin,
        missing: missing.name,
        variable: missing.variable(),
    };
    match (layers.text(first)?, layers.text(second)?) {
        (Some(left), Some(right)) => Ok(Some((left, right))),
        (Some(left), None) => Err(alone(first, left, second)),
        (None, Some(right)) => Err(alone(second, right, first)),
        (None, None) => Ok(None),
    }
}

fn path(text: Text) -> PathBuf {
    PathBuf::from(text.value.trim())
}

fn seconds(layers: &Layers, setting: &Setting) -> Result<Duration, Error> {
    layers.whole(setting).map(Duration::from_secs)
}
