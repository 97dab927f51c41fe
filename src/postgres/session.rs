//! One session with the server: how it is opened, and what is known of it afterwards.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bb8::ManageConnection;
use bb8_postgres::PostgresConnectionManager;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::postgres::connection_string::{Attempt, ConnectionSettings, Encryption, Host, TargetSessionAttrs};
use crate::postgres::error::PostgresError;
use crate::postgres::identifier::literal;
use crate::postgres::reason::reason;
use crate::postgres::tls;

/// An open session.
pub(crate) struct Session {
    client: Client,
    tls: Option<MakeRustlsConnect>,
    limits: Limits,
    statement_timeout: Duration,
    search_path: SearchPath,
    version: i32,
    expires: Instant,
    used: bool,
    broken: Arc<AtomicBool>,
}

/// The search_path that the role, the database or the connection string gives a session.
///
/// Statements of ours run with [`PINNED`] instead: a role that may create in a schema of the search_path could
/// otherwise define an operator or a function that fits our arguments better than that of `pg_catalog`, and have
/// it run with our privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SearchPath {
    /// As the setting has it.
    pub(crate) setting: String,
    /// The schemas among them that are there and may be used, in their order, without those that Postgres adds.
    pub(crate) schemas: Vec<String>,
}

/// Where statements look names up: nobody but a superuser can create anything in `pg_catalog`, and in `pg_temp`
/// neither operators nor functions are looked up.
pub(crate) const PINNED: &str = "pg_catalog, pg_temp";

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessMode {
    /// It may.
    ReadWrite,
    /// The server refuses every write.
    ReadOnly,
}

/// Where the limits of a session live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// The server session is ours alone: it is read-only and has its statement timeout for good.
    OfSession,
    /// A pooler stands between (PgBouncer, RDS Proxy) and shares server sessions among clients, so
    /// each read sets its own limits in a transaction and leaves nothing behind.
    OfTransaction {
        /// Longest time that a statement may run.
        statement_timeout: Duration,
    },
}

/// What the server says of a session that has just begun.
///
/// The marker tells whether our start-up options have reached the server itself. The role's own
/// statement timeout stands where it is lower than ours. On a large organization Postgres would compile
/// our statements, which takes longer than running them: 100 ms for one that runs for 30.
///
/// It runs with the search_path that the session was given, so that every name in it is qualified. `OFFSET 0` makes
/// Postgres evaluate the inner steps first; `AS MATERIALIZED` would too, from release 12 on.
const INTRODUCE: &str = r#"
WITH session AS (
    SELECT coalesce(pg_catalog.current_setting('baton_retool.direct', true), '') OPERATOR(pg_catalog.=) 'on' AS direct,
           pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' AS read_only,
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

/// A start-up option of our own making that a server keeps and a pooler drops or refuses.
const DIRECT: &str = "-c baton_retool.direct=on";

/// Everything that opening a session needs.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) settings: Arc<ConnectionSettings>,
    pub(crate) tls: MakeRustlsConnect,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
}

impl Opener {
    /// Tries the ways to connect in their order and takes the first session that fits.
    ///
    /// # Errors
    /// [`PostgresError::Connect`] with what the last way met; [`PostgresError::ConnectForbidden`] when the role may not connect to
    /// the database.
    pub(crate) async fn open(&self) -> Result<Session, PostgresError> {
        let current;
        let opener = match self.with_files_of_now()? {
            Some(fresh) => {
                current = fresh;
                &current
            }
            None => self,
        };
        opener.open_first().await
    }

    /// With the certificates and keys that the files have now, where they come from files.
    ///
    /// # Errors
    /// [`PostgresError::Connect`] when a file cannot be used.
    fn with_files_of_now(&self) -> Result<Option<Self>, PostgresError> {
        if !self.settings.ssl.reads_files() {
            return Ok(None);
        }
        let tls = tls::connector(&self.settings.ssl).map_err(|error| PostgresError::Connect {
            target: self.settings.describe(),
            reason: error.to_string(),
        })?;
        Ok(Some(Self { tls, ..self.clone() }))
    }

    async fn open_first(&self) -> Result<Session, PostgresError> {
        let wanted = self.settings.target_session_attrs;
        let mut failures: Vec<String> = Vec::new();
        let mut second_choice = None;
        let mut without_tls = None;
        for attempt in self.settings.attempts() {
            let tried = self.within_timeout(&attempt).await;
            match (&tried, attempt.encryption) {
                (Err(met), Encryption::Tls) if !met.tls_not_offered => {
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
                Ok(_) => {
                    failures.push(format!("{attempt}: not of the kind that target_session_attrs asks for"))
                }
                Err(met) if met.connect_forbidden => {
                    return Err(PostgresError::ConnectForbidden {
                        role: self.settings.user.clone(),
                        database: self.settings.database.clone(),
                    });
                }
                Err(met) => {
                    failures.push(format!("{attempt}: {}", met.reason));
                    // Another way would be refused the same, and send the wrong password once more. A login
                    // refused for anything else may be wanted with encryption, or without.
                    if met.login_refused {
                        break;
                    }
                }
            }
        }
        failures.dedup();
        second_choice.ok_or_else(|| PostgresError::Connect {
            target: self.settings.describe(),
            reason: failures.join("; "),
        })
    }

    /// Tries one way to connect and lets the session go again; whether the server is of the kind that is
    /// wanted.
    ///
    /// # Errors
    /// What the attempt met.
    pub(crate) async fn try_once(&self, attempt: &Attempt) -> Result<bool, Failed> {
        let (_, server) = self.within_timeout(attempt).await?;
        let wanted = self.settings.target_session_attrs;
        Ok(wanted == TargetSessionAttrs::PreferStandby || wanted.accepts(server.standby, server.read_only))
    }

    async fn within_timeout(&self, attempt: &Attempt) -> Result<(Session, Server), Failed> {
        match timeout(self.connect_timeout, self.start(attempt)).await {
            Ok(result) => result,
            Err(_) => Err(Failed {
                reason: format!("no answer within {} s", self.connect_timeout.as_secs()),
                state: None,
                login_refused: false,
                connect_forbidden: false,
                tls_not_offered: false,
            }),
        }
    }

    /// A pooler may refuse start-up options; then the session does without.
    async fn start(&self, attempt: &Attempt) -> Result<(Session, Server), Failed> {
        let own = self.settings.startup_options();
        let with_ours = match &own {
            Some(own) => format!("{DIRECT} {own}"),
            None => DIRECT.to_owned(),
        };
        match self.connect(attempt, Some(&with_ours)).await {
            Err(error) if refuses_options(&error) => self.connect(attempt, own.as_deref()).await,
            other => other,
        }
        .map_err(|error| Failed {
            state: error.code().cloned(),
            connect_forbidden: error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            login_refused: error.code() == Some(&SqlState::INVALID_PASSWORD),
            tls_not_offered: error.to_string().contains("server does not support TLS")
                || error.source().is_some_and(|cause| cause.to_string() == "server does not support TLS"),
            reason: reason(&error).to_string(),
        })
    }

    async fn connect(
        &self,
        attempt: &Attempt,
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
                let manager = PostgresConnectionManager::new(config, self.tls.clone());
                (manager.connect().await?, Some(self.tls.clone()))
            }
        };
        let limit = i64::try_from(self.statement_timeout.as_millis()).unwrap_or(i64::MAX);
        let row = client.query_typed_one(INTRODUCE, &[(&limit, Type::INT8)]).await?;
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

/// Why an attempt gave no session.
pub(crate) struct Failed {
    pub(crate) reason: String,
    /// The server's code; nothing where it did not come to that.
    pub(crate) state: Option<SqlState>,
    pub(crate) login_refused: bool,
    /// The login was fine, the database is closed to the role.
    pub(crate) connect_forbidden: bool,
    /// TLS was asked for, and the server has none.
    pub(crate) tls_not_offered: bool,
}

/// What kind of server a session has met.
#[derive(Debug, Clone, Copy)]
struct Server {
    standby: bool,
    read_only: bool,
}

impl Session {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The search_path that the session was given.
    pub(crate) fn search_path(&self) -> &SearchPath {
        &self.search_path
    }

    /// The release of the server as Postgres numbers it: 150004 for 15.4, 90624 for 9.6.24.
    pub(crate) fn version(&self) -> i32 {
        self.version
    }

    /// What begins a transaction. The mode is its own: a function that changes the session's default does not
    /// make the next transaction write. The same holds for the search_path. Behind a pooler it brings the
    /// statement timeout too.
    pub(crate) fn begin(&self, access: AccessMode) -> String {
        self.begin_as(match access {
            AccessMode::ReadWrite => "READ COMMITTED READ WRITE",
            AccessMode::ReadOnly => "READ COMMITTED READ ONLY",
        })
    }

    /// As [`Session::begin`], for a read-only transaction all statements of which see the database at one moment.
    pub(crate) fn begin_consistent(&self) -> String {
        self.begin_as("REPEATABLE READ READ ONLY")
    }

    fn begin_as(&self, mode: &str) -> String {
        let mut begin = format!("BEGIN ISOLATION LEVEL {mode}; SET LOCAL search_path = {PINNED}");
        if let Limits::OfTransaction { statement_timeout } = self.limits {
            let limit = statement_timeout.as_millis().max(1);
            begin.push_str(&format!("; SET LOCAL statement_timeout = {limit}"));
        }
        begin
    }

    /// What gives the triggers of the tables that are written the search_path that they were made for, with
    /// `pg_catalog` in front, until the end of the transaction or [`PIN`].
    pub(crate) fn search_path_of_triggers(&self) -> String {
        let path = match self.search_path.setting.as_str() {
            "" => PINNED.to_owned(),
            setting => format!("pg_catalog, {setting}, pg_temp"),
        };
        format!("SELECT pg_catalog.set_config('search_path', {}, true)", literal(&path))
    }

    /// How long to wait for the answer to a statement: longer than a server needs to stop it by itself
    /// and say so. One that says nothing by then is frozen or cut off.
    pub(crate) fn patience(&self) -> Duration {
        self.statement_timeout.saturating_add(GRACE)
    }

    /// Whether the session can no longer be trusted: lost, abandoned in mid-statement, or too old.
    pub(crate) fn is_spent(&self) -> bool {
        // A session serves once at least, however short a life the settings give it.
        let too_old = self.used && Instant::now() >= self.expires;
        self.broken.load(Ordering::Relaxed) || self.client.is_closed() || too_old
    }

    /// Marks the session as used.
    pub(crate) fn begin_use(&mut self) {
        self.used = true;
    }

    /// Keeps the session from serving anybody else.
    pub(crate) fn retire(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Watches over a statement: dropped before [`Running::finished`], it asks the server to stop the
    /// statement and keeps the session from being used again.
    pub(crate) fn running(&self) -> Running {
        Running {
            cancel: Some((self.client.cancel_token(), self.tls.clone())),
            broken: Arc::clone(&self.broken),
        }
    }
}

/// Ends what [`Session::search_path_of_triggers`] began.
pub(crate) const PIN: &str = "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)";

/// What an answer may take on top of the statement's own limit.
const GRACE: Duration = Duration::from_secs(5);

/// How long a request to cancel may take; a frozen server would hold it for ever.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

/// See [`Session::running`].
pub(crate) struct Running {
    cancel: Option<(CancelToken, Option<MakeRustlsConnect>)>,
    broken: Arc<AtomicBool>,
}

impl Running {
    pub(crate) fn finished(mut self) {
        self.cancel = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((token, tls)) = self.cancel.take() else { return };
        self.broken.store(true, Ordering::Relaxed);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let cancel = async {
                match tls {
                    Some(tls) => token.cancel_query(tls).await,
                    None => token.cancel_query(NoTls).await,
                }
            };
            match timeout(CANCEL_LIMIT, cancel).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(error = %reason(&error), "could not cancel a statement"),
                Err(_) => tracing::debug!("could not cancel a statement: no answer"),
            }
        });
    }
}

/// `sslmode=prefer` goes on without TLS, as in libpq; that should not go unseen where the server offers it.
fn warn_of_plaintext(attempt: &Attempt, with_tls: Option<(Host, String)>) {
    let Some((host, reason)) = with_tls else { return };
    if host.port == attempt.host.port && host.address == attempt.host.address {
        tracing::warn!(
            server = %attempt,
            reason,
            "a connection to the database is not encrypted although the server offers TLS; sslmode=require refuses such connections and says why"
        );
    }
}

/// PgBouncer refuses unknown start-up parameters, RDS Proxy any start-up options.
fn refuses_options(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|server| {
        let message = server.message().to_ascii_lowercase();
        message.contains("startup parameter") || message.contains("command-line options")
    })
}
