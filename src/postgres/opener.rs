//! Opens sessions: tries the hosts and kinds of encryption in order, and runs the first statement.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bb8::ManageConnection;
use bb8_postgres::PostgresConnectionManager;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::Type;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::postgres::connection_string::{Attempt, ConnectionSettings, Encryption, Host, TargetSessionAttrs};
use crate::postgres::error::PostgresError;
use crate::postgres::offer::Offer;
use crate::postgres::reason::reason;
use crate::postgres::session::{Limits, SearchPath, Session};
use crate::postgres::tls;

/// Reads the properties of a new session and sets its limits.
///
/// The option `baton_retool.direct` shows whether our startup options have reached the server itself. The
/// role's own statement timeout stays if it is lower than ours. `jit` is turned off, because for a large
/// organization Postgres would compile our statements, which takes longer than running them: 100 ms for a
/// statement that runs for 30 ms.
///
/// The statement runs in a read-only transaction like every read, but with the session's original search_path,
/// so every name in it is qualified (decision nothing-from-public). `OFFSET 0`
/// makes Postgres evaluate the inner steps first; `AS MATERIALIZED` would too, but only from version 12 on.
const INTRODUCE: &str = r#"
WITH session AS (
    SELECT coalesce(pg_catalog.current_setting('baton_retool.direct', true), '') OPERATOR(pg_catalog.=) 'on' AS direct,
           pg_catalog.current_setting('default_transaction_read_only') OPERATOR(pg_catalog.=) 'on'
               OR pg_catalog.pg_is_in_recovery() AS read_only,
           pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS version,
           pg_catalog.current_setting('search_path') AS search_path,
           pg_catalog.current_schemas(false)::pg_catalog.text[] AS schemas,
           (extract(epoch FROM pg_catalog.current_setting('statement_timeout')::interval)::pg_catalog.float8
               OPERATOR(pg_catalog.*) 1000::pg_catalog.float8)::pg_catalog.int8 AS own
    OFFSET 0
),
limits AS (
    SELECT *, CASE WHEN own OPERATOR(pg_catalog.>=) 1 AND own OPERATOR(pg_catalog.<=) $1 THEN own ELSE $1 END AS timeout
    FROM session
    OFFSET 0
)
SELECT direct,
       timeout,
       pg_catalog.pg_is_in_recovery() AS standby,
       read_only,
       version,
       search_path,
       schemas,
       CASE WHEN direct THEN pg_catalog.set_config('statement_timeout', timeout::pg_catalog.text, false) END,
       CASE WHEN direct THEN pg_catalog.set_config('default_transaction_read_only', 'on', false) END,
       CASE WHEN direct THEN pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) END,
       CASE WHEN direct AND pg_catalog.current_setting('jit', true) IS NOT NULL
            THEN pg_catalog.set_config('jit', 'off', false) END
FROM limits
"#;

/// Begins the transaction of [`INTRODUCE`]. A standby does not allow the isolation level that a role may have
/// as its default.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";

/// A custom startup option that a server keeps, and that a pooler drops or rejects.
const DIRECT: &str = "-c baton_retool.direct=on";

/// The parameters for opening a session.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) settings: Arc<ConnectionSettings>,
    pub(crate) tls: MakeRustlsConnect,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
}

impl Opener {
    /// Tries the ways to connect in order and returns the first suitable session.
    ///
    /// # Errors
    /// [`PostgresError::Connect`] with the errors of the attempts; [`PostgresError::LoginRefused`] for a
    /// wrong password; [`PostgresError::ConnectForbidden`] if the role may not connect to the database;
    /// [`PostgresError::NoTransactions`] behind a pooler that allows no transactions.
    pub(crate) async fn open(&self) -> Result<Session, PostgresError> {
        let current;
        let opener = match self.with_current_files().await? {
            Some(fresh) => {
                current = fresh;
                &current
            }
            None => self,
        };
        opener.open_first().await
    }

    /// Returns an opener with the current certificates and keys, if they come from files.
    ///
    /// # Errors
    /// [`PostgresError::Connect`] if a file is unusable.
    async fn with_current_files(&self) -> Result<Option<Self>, PostgresError> {
        if !self.settings.ssl.reads_files() {
            return Ok(None);
        }
        let unusable = |reason| PostgresError::Connect { target: self.settings.describe(), reason };
        let settings = Arc::clone(&self.settings);
        // Decrypting a key takes a while.
        let tls = spawn_blocking(move || tls::connector(&settings.ssl)).await;
        let tls = tls.map_err(|error| unusable(error.to_string()))?;
        let tls = tls.map_err(|error| unusable(error.to_string()))?;
        Ok(Some(Self { tls, ..self.clone() }))
    }

    async fn open_first(&self) -> Result<Session, PostgresError> {
        let wanted = self.settings.target_session_attrs;
        let mut failures: Vec<String> = Vec::new();
        let mut second_choice = None;
        let mut without_tls = None;
        let mut login_refused = false;
        for attempt in self.settings.attempts() {
            let tried = self.try_host(&attempt).await;
            match (&tried, attempt.encryption) {
                (Err(met), Encryption::Tls) if met.tls_offered => {
                    without_tls = Some((attempt.host.clone(), met.reason.clone()));
                }
                (Ok(_), Encryption::Plain) => warn_of_plaintext(&attempt, without_tls.take()),
                _ => {}
            }
            match tried {
                Ok((session, server)) if wanted.accepts(server.standby, server.read_only) => {
                    return Ok(session);
                }
                Ok((session, _)) if wanted == TargetSessionAttrs::PreferStandby => {
                    second_choice = Some(session)
                }
                Ok(_) => failures.push(format!("{attempt}: the server does not match target_session_attrs")),
                Err(met) if met.connect_forbidden => {
                    return Err(PostgresError::ConnectForbidden {
                        role: self.settings.user.clone(),
                        database: self.settings.database.clone(),
                    });
                }
                Err(met) if met.no_transactions => {
                    return Err(PostgresError::NoTransactions { reason: met.reason.into() });
                }
                Err(met) => {
                    failures.push(format!("{attempt}: {}", met.reason));
                    // Other attempts would fail the same way and send the wrong password again. A login
                    // refused for another reason may be accepted with or without encryption.
                    if met.login_refused {
                        login_refused = true;
                        break;
                    }
                }
            }
        }
        failures.dedup();
        second_choice.ok_or_else(|| {
            let (target, reason) = (self.settings.describe(), failures.join("; "));
            if login_refused {
                PostgresError::LoginRefused { target, reason }
            } else {
                PostgresError::Connect { target, reason }
            }
        })
    }

    /// Tries one way to connect and closes the session. Returns whether the server is of the required kind.
    ///
    /// # Errors
    /// The error of the attempt.
    pub(crate) async fn try_once(&self, attempt: &Attempt) -> Result<bool, Failed> {
        let (_, server) = self.try_host(attempt).await?;
        let wanted = self.settings.target_session_attrs;
        Ok(wanted == TargetSessionAttrs::PreferStandby || wanted.accepts(server.standby, server.read_only))
    }

    /// Tries the addresses of a host in turn.
    async fn try_host(&self, attempt: &Attempt) -> Result<(Session, Server), Failed> {
        let attempts = attempt.by_address(self.connect_timeout, self.settings.shuffle_hosts).await;
        match attempts.split_last() {
            Some((last, others)) => self.try_each(others, last).await,
            None => self.try_each(&[], attempt).await,
        }
    }

    /// Each attempt has the whole timeout, as with libpq and pgx. The driver would share one timeout between them, so an
    /// address that drops packets would hide the others. The first server that answers, even with an error, decides. If
    /// none does, the error has the reasons of all.
    async fn try_each(&self, others: &[Attempt], last: &Attempt) -> Result<(Session, Server), Failed> {
        let mut reasons = Vec::new();
        for attempt in others {
            match self.within_timeout(attempt).await {
                Err(failed) if !failed.answered => reasons.push(attempt.with_address(&failed.reason)),
                ended => return ended,
            }
        }
        let mut ended = self.within_timeout(last).await;
        if let Err(failed) = &mut ended
            && !reasons.is_empty()
        {
            reasons.push(last.with_address(&failed.reason));
            failed.reason = reasons.join(", ");
        }
        ended
    }

    async fn within_timeout(&self, attempt: &Attempt) -> Result<(Session, Server), Failed> {
        let offer = Offer::default();
        match timeout(self.connect_timeout, self.start(attempt, &offer)).await {
            Ok(result) => result,
            Err(_) => Err(Failed {
                reason: format!("no answer within {} s", self.connect_timeout.as_secs()),
                state: None,
                answered: false,
                login_refused: false,
                connect_forbidden: false,
                no_transactions: false,
                tls_offered: offer.is_made(),
            }),
        }
    }

    /// A pooler may reject startup options. The session then starts without ours.
    async fn start(&self, attempt: &Attempt, offer: &Offer) -> Result<(Session, Server), Failed> {
        let own = self.settings.startup_options();
        let with_ours = match &own {
            Some(own) => format!("{DIRECT} {own}"),
            None => DIRECT.to_owned(),
        };
        match self.connect(attempt, offer, Some(&with_ours)).await {
            Err(error) if refuses_options(&error) => self.connect(attempt, offer, own.as_deref()).await,
            other => other,
        }
        .map_err(|error| Failed {
            state: error.code().cloned(),
            answered: error.code().is_some() || offers_no_tls(&error),
            connect_forbidden: error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            login_refused: error.code() == Some(&SqlState::INVALID_PASSWORD),
            no_transactions: matches!(
                PostgresError::of_statement(&error),
                PostgresError::NoTransactions { .. }
            ),
            tls_offered: offer.is_made(),
            reason: reason_of_start(&error),
        })
    }

    async fn connect(
        &self,
        attempt: &Attempt,
        offer: &Offer,
        options: Option<&str>,
    ) -> Result<(Session, Server), tokio_postgres::Error> {
        let mut config = attempt.config(&self.settings);
        config.connect_timeout(self.connect_timeout);
        if self.settings.application_name.is_none() {
            config.application_name(env!("CARGO_PKG_NAME"));
        }
        if let Some(options) = options {
            config.options(options);
        }
        let (client, tls) = match attempt.encryption {
            Encryption::Plain => (PostgresConnectionManager::new(config, NoTls).connect().await?, None),
            Encryption::Tls => {
                let tls = offer.recorded_by(self.tls.clone());
                let manager = PostgresConnectionManager::new(config, tls);
                (manager.connect().await?, Some(self.tls.clone()))
            }
        };
        let limit = i64::try_from(self.statement_timeout.as_millis()).unwrap_or(i64::MAX);
        let parameters = [(&limit as _, Type::INT8)];
        // One round trip; see `statement::run`.
        let (begun, row, ended) = tokio::join!(
            client.batch_execute(BEGIN),
            client.query_typed_one(INTRODUCE, &parameters),
            client.batch_execute("COMMIT")
        );
        begun?;
        let row = row?;
        ended?;
        let direct: bool = row.try_get("direct")?;
        let effective: i64 = row.try_get("timeout")?;
        let statement_timeout = Duration::from_millis(u64::try_from(effective).unwrap_or_default());
        let server = Server { standby: row.try_get("standby")?, read_only: row.try_get("read_only")? };
        let pool = &self.settings.pool;
        let session = Session {
            client,
            tls,
            statement_timeout,
            search_path: SearchPath {
                setting: row.try_get("search_path")?,
                schemas: row.try_get("schemas")?,
            },
            version: row.try_get("version")?,
            limits: if direct { Limits::OfSession } else { Limits::OfTransaction { statement_timeout } },
            expires: Instant::now() + pool.max_lifetime + pool.max_lifetime_jitter.mul_f64(rand::random()),
            used: false,
            broken: Arc::default(),
        };
        Ok((session, server))
    }
}

/// A failed attempt to open a session.
pub(crate) struct Failed {
    pub(crate) reason: String,
    /// The server's SQLSTATE; `None` if the server sent none.
    pub(crate) state: Option<SqlState>,
    /// The server sent an error, or that it does not offer TLS.
    pub(crate) answered: bool,
    pub(crate) login_refused: bool,
    /// The login was accepted, but the role may not connect to the database.
    pub(crate) connect_forbidden: bool,
    /// A pooler in between assigns each statement to another session.
    pub(crate) no_transactions: bool,
    /// TLS was requested, and the server offers it.
    pub(crate) tls_offered: bool,
}

/// Whether the server answered that it does not offer TLS. The driver has no other sign of this than its text.
fn offers_no_tls(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|source| source.to_string() == "server does not support TLS")
}

/// The kind of server of a session.
#[derive(Debug, Clone, Copy)]
struct Server {
    standby: bool,
    read_only: bool,
}

/// Logs a warning if `sslmode=prefer` continues without TLS, as in libpq, although the server offers TLS.
fn warn_of_plaintext(attempt: &Attempt, with_tls: Option<(Host, String)>) {
    let Some((host, reason)) = with_tls else { return };
    if host.port == attempt.host.port && host.address == attempt.host.address {
        tracing::warn!(
            server = %attempt,
            reason,
            "a connection to the database is not encrypted although the server offers TLS; sslmode=require refuses unencrypted connections and reports why"
        );
    }
}

/// The reason of a failed attempt. The server quotes options that it cannot parse, and a server or a pooler the names
/// of unknown parameters. A connection string in place of options, or a part of a password with a space, would appear
/// there.
fn reason_of_start(error: &tokio_postgres::Error) -> String {
    const QUOTED: [SqlState; 3] =
        [SqlState::SYNTAX_ERROR, SqlState::INVALID_NAME, SqlState::UNDEFINED_OBJECT];
    let is_quoted = |server: &DbError| {
        server.parsed_severity() == Some(Severity::Fatal) && QUOTED.contains(server.code())
    };
    match error.as_db_error() {
        Some(server) if is_quoted(server) || refuses_options(error) => {
            format!(
                "the server rejects options, PGOPTIONS or a parameter of the connection string (SQLSTATE {})",
                server.code().code()
            )
        }
        _ => reason(error).to_string(),
    }
}

/// PgBouncer rejects unknown startup parameters, RDS Proxy all startup options.
fn refuses_options(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|server| {
        let message = server.message().to_ascii_lowercase();
        message.contains("startup parameter") || message.contains("command-line options")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
