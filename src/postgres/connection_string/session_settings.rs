//! Settings of connections and sessions, except TLS.

use std::time::Duration;

use crate::postgres::connection_string::error::ConnectionStringError;
use crate::postgres::connection_string::layers::Layers;

/// The required kind of server (`target_session_attrs`).
///
/// The setting is not passed to the driver, which supports only some of the kinds. The code that connects
/// queries the server and calls [`accepts`](Self::accepts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TargetSessionAttrs {
    /// Any server.
    #[default]
    Any,
    /// A server with writable sessions.
    ReadWrite,
    /// A server with read-only sessions.
    ReadOnly,
    /// A server that is not in recovery.
    Primary,
    /// A server in recovery.
    Standby,
    /// A server in recovery if one of the hosts is, otherwise any server.
    PreferStandby,
}

impl TargetSessionAttrs {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "any" => Self::Any,
            "read-write" => Self::ReadWrite,
            "read-only" => Self::ReadOnly,
            "primary" => Self::Primary,
            "standby" => Self::Standby,
            "prefer-standby" => Self::PreferStandby,
            _ => return None,
        })
    }

    /// Whether a server is of the required kind. `standby` is true if it is in recovery, `read_only`
    /// whether its sessions start read-only. [`PreferStandby`](Self::PreferStandby) accepts standbys only;
    /// the code that connects implements the fallback.
    pub(crate) fn accepts(self, standby: bool, read_only: bool) -> bool {
        match self {
            Self::Any => true,
            Self::ReadWrite => !read_only,
            Self::ReadOnly => read_only,
            Self::Primary => !standby,
            Self::Standby | Self::PreferStandby => standby,
        }
    }
}

/// Whether the password exchange is tied to the TLS session (`channel_binding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server supports it.
    #[default]
    Prefer,
    /// Always; otherwise the connection fails.
    Require,
}

impl ChannelBinding {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            _ => return None,
        })
    }
}

/// TCP keepalive. Unset values are left to the driver and the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Keepalive {
    /// Idle time before the first probe.
    pub idle: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Number of unanswered probes after which the connection counts as lost.
    pub count: Option<u32>,
}

/// The parsed settings of this module.
pub(crate) struct Session {
    pub(crate) target_session_attrs: TargetSessionAttrs,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) shuffle_hosts: bool,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) tcp_user_timeout: Option<Duration>,
    pub(crate) keepalive: Option<Keepalive>,
}

const SECONDS: &str = "a whole number of seconds, 0 for the default";

pub(crate) fn read(layers: &Layers) -> Result<Session, ConnectionStringError> {
    let seconds = |key| {
        let seconds = layers.parsed(key, SECONDS, number)?.filter(|seconds| *seconds != 0);
        Ok::<_, ConnectionStringError>(seconds.map(|seconds| Duration::from_secs(u64::from(seconds))))
    };
    // All of them are validated even with keepalives=0, because an unused setting can still be a mistake.
    let keepalive = Keepalive {
        idle: seconds("keepalives_idle")?,
        interval: seconds("keepalives_interval")?,
        count: layers
            .parsed("keepalives_count", "a whole number, 0 for the default", number)?
            .filter(|count| *count != 0),
    };
    let keepalives = layers.parsed("keepalives", "0 or 1", zero_or_one)?.unwrap_or(true);
    Ok(Session {
        target_session_attrs: layers
            .parsed(
                "target_session_attrs",
                "any, read-write, read-only, primary, standby or prefer-standby",
                TargetSessionAttrs::from_name,
            )?
            .unwrap_or_default(),
        channel_binding: layers
            .parsed("channel_binding", "disable, prefer or require", ChannelBinding::from_name)?
            .unwrap_or_default(),
        shuffle_hosts: layers
            .parsed("load_balance_hosts", "disable or random", |value| match value {
                "disable" => Some(false),
                "random" => Some(true),
                _ => None,
            })?
            .unwrap_or(false),
        connect_timeout: seconds("connect_timeout")?,
        tcp_user_timeout: layers
            .parsed("tcp_user_timeout", "a whole number of milliseconds, 0 for the default", number)?
            .filter(|milliseconds| *milliseconds != 0)
            .map(|milliseconds| Duration::from_millis(u64::from(milliseconds))),
        keepalive: keepalives.then_some(keepalive),
    })
}

/// A number within the range of the operating system's socket options.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| i32::try_from(*number).is_ok())
}

/// libpq's notation of booleans.
pub(crate) fn zero_or_one(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}
