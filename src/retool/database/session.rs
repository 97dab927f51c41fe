//! One session with the server: how it is opened, and what is known of it afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection_string::{Attempt, ConnectionSettings, Encryption, TargetSessionAttrs};
use super::error::{Error, reason};

/// An open session.
pub(super) struct Session {
    client: Client,
    tls: Option<MakeRustlsConnect>,
    scope: Scope,
    expires: Instant,
    used: bool,
    broken: Arc<AtomicBool>,
}

/// Where the limits of a session live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The server session is ours alone: it is read-only and has its statement timeout for good.
    Session,
    /// A pooler stands between (PgBouncer, RDS Proxy) and shares server sessions among clients, so
    /// each read sets its own limits in a transaction and leaves nothing behind.
    Transaction {
        /// Longest time that a statement may run.
        statement_timeout: Duration,
    },
}

/// What the server says of a session that has just begun.
///
/// The marker tells whether our start-up options have reached the server itself. The role's own
/// statement timeout stands where it is lower than ours.
const INTRODUCE: &str = r#"
WITH session AS MATERIALIZED (
    SELECT coalesce(current_setting('baton_retool.direct', true), '') = 'on' AS direct,
           (1000 * extract(epoch FROM current_setting('statement_timeout')::interval))::int8 AS own
),
limits AS MATERIALIZED (
    SELECT direct, CASE WHEN own BETWEEN 1 AND $1 THEN own ELSE $1 END AS timeout
    FROM session
)
SELECT direct,
       timeout,
       pg_is_in_recovery() AS standby,
       CASE WHEN direct THEN set_config('statement_timeout', timeout::text, false) END
FROM limits
"#;

/// Start-up options that make a session read-only and mark it as reached without a pooler.
const DIRECT: &str = "-c default_transaction_read_only=on -c baton_retool.direct=on";

/// Everything that opening a session needs.
#[derive(Clone)]
pub(super) struct Opener {
    pub(super) settings: Arc<ConnectionSettings>,
    pub(super) tls: MakeRustlsConnect,
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Duration,
}

impl Opener {
    /// Tries the ways to connect in their order and takes the first session that fits.
    ///
    /// # Errors
    /// [`Error::Connect`] with what the last way met.
    pub(super) async fn open(&self) -> Result<Session, Error> {
        let mut reason = "the connection string names no host".to_owned();
        let mut standby = None;
        for attempt in self.settings.attempts() {
            match self.within_timeout(&attempt).await {
                Ok((session, role)) if self.accepts(role) => return Ok(session),
                Ok((session, ServerRole::Primary))
                    if self.settings.target_session_attrs == TargetSessionAttrs::PreferStandby =>
                {
                    standby = Some(session);
                }
                Ok(_) => {
                    reason = format!(
                        "{} is not what target_session_attrs={} asks for",
                        attempt.host, self.settings.target_session_attrs
                    );
                }
                Err(met) => reason = met,
            }
        }
        standby.ok_or_else(|| Error::Connect { target: self.settings.describe(), reason })
    }

    fn accepts(&self, role: ServerRole) -> bool {
        match self.settings.target_session_attrs {
            TargetSessionAttrs::Any => true,
            TargetSessionAttrs::ReadWrite | TargetSessionAttrs::Primary => role == ServerRole::Primary,
            TargetSessionAttrs::ReadOnly | TargetSessionAttrs::Standby | TargetSessionAttrs::PreferStandby => {
                role == ServerRole::Standby
            }
        }
    }

    async fn within_timeout(&self, attempt: &Attempt) -> Result<(Session, ServerRole), String> {
        match timeout(self.connect_timeout, self.start(attempt)).await {
            Ok(result) => result,
            Err(_) => Err(format!(
                "{} did not answer within {} s (connect_timeout)",
                attempt.host,
                self.connect_timeout.as_secs()
            )),
        }
    }

    /// A pooler may refuse start-up options; then the session does without.
    async fn start(&self, attempt: &Attempt) -> Result<(Session, ServerRole), String> {
        let own = self.settings.startup_options();
        let with_ours = match &own {
            Some(own) => format!("{DIRECT} {own}"),
            None => DIRECT.to_owned(),
        };
        match self.connect(attempt, Some(&with_ours)).await {
            Err(error) if refuses_options(&error) => self.connect(attempt, own.as_deref()).await,
            other => other,
        }
        .map_err(|error| reason(&error))
    }

    async fn connect(
        &self,
        attempt: &Attempt,
        options: Option<&str>,
    ) -> Result<(Session, ServerRole), tokio_postgres::Error> {
        let mut config = attempt.config(&self.settings);
        config.connect_timeout(self.connect_timeout);
        if self.settings.application_name.is_none() {
            config.application_name("baton-retool");
        }
        if let Some(options) = options {
            config.options(options);
        }
        let (client, tls) = match attempt.encryption {
            Encryption::Plain => {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(async move { connection.await.inspect_err(report_end) });
                (client, None)
            }
            Encryption::Tls => {
                let (client, connection) = config.connect(self.tls.clone()).await?;
                tokio::spawn(async move { connection.await.inspect_err(report_end) });
                (client, Some(self.tls.clone()))
            }
        };
        let limit = i64::try_from(self.statement_timeout.as_millis()).unwrap_or(i64::MAX);
        let row = client.query_typed_one(INTRODUCE, &[(&limit, Type::INT8)]).await?;
        let direct: bool = row.try_get(0)?;
        let effective: i64 = row.try_get(1)?;
        let statement_timeout = Duration::from_millis(u64::try_from(effective).unwrap_or_default());
        let role = if row.try_get(2)? { ServerRole::Standby } else { ServerRole::Primary };
        let pool = &self.settings.pool;
        let session = Session {
            client,
            tls,
            scope: if direct { Scope::Session } else { Scope::Transaction { statement_timeout } },
            expires: Instant::now()
                + pool.max_connection_lifetime
                + pool.max_connection_lifetime_jitter.mul_f64(rand::random()),
            used: false,
            broken: Arc::default(),
        };
        Ok((session, role))
    }
}

/// Whether the server takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerRole {
    Primary,
    Standby,
}

impl Session {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether the session can no longer be trusted: lost, abandoned in mid-statement, or too old.
    pub(super) fn is_spent(&self) -> bool {
        self.broken.load(Ordering::Relaxed) || self.client.is_closed() || Instant::now() >= self.expires
    }

    /// Marks the session as used and tells whether it had been before.
    pub(super) fn begin_use(&mut self) -> bool {
        std::mem::replace(&mut self.used, true)
    }

    /// Keeps the session from serving anybody else.
    pub(super) fn retire(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Watches over a statement: dropped before [`Running::finished`], it asks the server to stop the
    /// statement and keeps the session from being used again.
    pub(super) fn running(&self) -> Running {
        Running {
            cancel: Some((self.client.cancel_token(), self.tls.clone())),
            broken: Arc::clone(&self.broken),
        }
    }
}

/// See [`Session::running`].
pub(super) struct Running {
    cancel: Option<(CancelToken, Option<MakeRustlsConnect>)>,
    broken: Arc<AtomicBool>,
}

impl Running {
    pub(super) fn finished(mut self) {
        self.cancel = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((token, tls)) = self.cancel.take() else { return };
        self.broken.store(true, Ordering::Relaxed);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let result = match tls {
                Some(tls) => token.cancel_query(tls).await,
                None => token.cancel_query(NoTls).await,
            };
            if let Err(error) = result {
                tracing::debug!(error = %reason(&error), "could not cancel a statement");
            }
        });
    }
}

/// PgBouncer refuses unknown start-up parameters, RDS Proxy any start-up options.
fn refuses_options(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|server| {
        let message = server.message().to_ascii_lowercase();
        message.contains("startup parameter") || message.contains("command-line options")
    })
}

fn report_end(error: &tokio_postgres::Error) {
    tracing::debug!(error = %reason(error), "a database connection ended");
}
