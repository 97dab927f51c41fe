//! The choices a connection string offers about connections, other than TLS.

use std::time::Duration;

use crate::postgres::connection_string::error::ConnectionStringError;
use crate::postgres::connection_string::layers::Layers;

/// What kind of server is wanted (`target_session_attrs`).
///
/// The driver is not told: it knows only some of these. The caller that connects asks the server and then
/// [`accepts`](Self::accepts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TargetSessionAttrs {
    /// Whatever answers.
    #[default]
    Any,
    /// One whose sessions may write.
    ReadWrite,
    /// One whose sessions may not write.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One that is in recovery.
    Standby,
    /// One in recovery if any of the hosts is, else whatever answers.
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

    /// Whether a server is of the wanted kind: whether it is in recovery, and whether its sessions begin
    /// read-only. [`PreferStandby`](Self::PreferStandby) accepts standbys; the caller that connects falls back.
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
    /// Where the server can.
    #[default]
    Prefer,
    /// Always, or there is no connection.
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

/// TCP keepalive; what is not set is left to the driver and the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Keepalive {
    /// Silence before the first probe.
    pub idle: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Unanswered probes before the connection counts as lost.
    pub count: Option<u32>,
}

/// Everything of this page, read.
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
    // All are read even with keepalives=0: a mistake does not become right by being unused.
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

/// A number that fits the operating system's socket options.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| i32::try_from(*number).is_ok())
}

/// How libpq writes no and yes.
pub(crate) fn zero_or_one(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}
