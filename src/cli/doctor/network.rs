//! Checks the connection, from the name of the host to the login.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::doctor::report::{Check, Line, Report, Status};
use crate::postgres::connection_string::{Address, ConnectionSettings, Host};
use crate::postgres::diagnosis::login::{LoginProblem, Refused, log_in};
use crate::postgres::diagnosis::network::{
    NetworkProblem, TlsProblem, Transport, addresses, connect, secure,
};
use crate::postgres::identifier::quoted;
use crate::postgres::pool::Timeouts;
use crate::postgres::tls::{CertificateProblem, SslMode};

/// A host, and the address of the connection to it.
type Reached<'a> = (&'a Host, Option<SocketAddr>);

/// Checks that the role can log in to a host.
pub(super) async fn check(
    connection: &Arc<ConnectionSettings>,
    timeouts: Timeouts,
    report: &mut Report,
) -> bool {
    let limit = connection.connect_timeout.unwrap_or(timeouts.connect);
    let known = resolve(&connection.hosts, limit, report).await;
    if known.is_empty() {
        report.skip(Check::Tcp..=Check::Drift, "no host name resolves to an address");
        return false;
    }
    let reached = reach(known, limit, report).await;
    if reached.is_empty() {
        report.skip(Check::Tls..=Check::Drift, "no host is reachable");
        return false;
    }
    if !protect(&reached, connection, limit, report).await {
        report.skip(Check::Login..=Check::Drift, "TLS does not meet the settings");
        return false;
    }
    let can_log_in = enter(connection, timeouts, report).await;
    if !can_log_in {
        report.skip(Check::Server..=Check::Drift, "the login failed");
    }
    can_log_in
}

/// Adds the lines. A failure at one host is a warning if another host works.
fn add(mut lines: Vec<Line>, report: &mut Report) {
    if lines.iter().any(|line| line.status < Status::Failed) {
        for line in lines.iter_mut().filter(|line| line.status == Status::Failed) {
            line.status = Status::Warning;
        }
    }
    report.extend(lines);
}

async fn resolve<'a>(
    hosts: &'a [Host],
    limit: Duration,
    report: &mut Report,
) -> Vec<(&'a Host, Vec<SocketAddr>)> {
    let (mut lines, mut known) = (Vec::new(), Vec::new());
    for host in hosts {
        let line = match (&host.address, addresses(host, limit).await) {
            (Address::Unix(_), _) => {
                known.push((host, Vec::new()));
                Line::skipped(Check::Dns, "a Unix socket has no host name")
            }
            (_, Ok(found)) => {
                let listed = found.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>();
                known.push((host, found));
                Line::ok(Check::Dns, listed.join(", "))
            }
            (_, Err(problem @ NetworkProblem::Silent(_))) => {
                Line::failed(Check::Dns, problem.to_string()).means("The name server does not answer.")
            }
            (_, Err(problem)) => Line::failed(Check::Dns, problem.to_string())
                .means("The host name is wrong, or this machine's name server cannot resolve it.")
                .fix("correct host in the connection string, or set hostaddr to its address"),
        };
        lines.push(line.about(host.to_string()));
    }
    add(lines, report);
    known
}

async fn reach<'a>(
    known: Vec<(&'a Host, Vec<SocketAddr>)>,
    limit: Duration,
    report: &mut Report,
) -> Vec<Reached<'a>> {
    let (mut lines, mut reached) = (Vec::new(), Vec::new());
    for (host, addresses) in known {
        let line = match connect(host, &addresses, limit).await {
            Ok(address) => {
                reached.push((host, address));
                Line::ok(Check::Tcp, "a server accepts connections")
            }
            Err(problem @ NetworkProblem::Silent(_)) => Line::failed(Check::Tcp, problem.to_string())
                .means("Packets are lost: a firewall, a NetworkPolicy or a security group drops them, or the address is wrong.")
                .fix("allow this machine to reach that port, or correct host and port"),
            Err(problem @ NetworkProblem::Socket { .. }) => Line::failed(Check::Tcp, problem.to_string())
                .means("Postgres is not running, or its socket is in another directory.")
                .fix("set host to the directory in unix_socket_directories"),
            Err(problem) => Line::failed(Check::Tcp, problem.to_string())
                .means("Nothing listens on that port: Postgres is down, listens on another port, or not on this network (listen_addresses).")
                .fix("correct host and port, or start Postgres"),
        };
        lines.push(line.about(host.to_string()));
    }
    add(lines, report);
    reached
}

async fn protect(
    reached: &[Reached<'_>],
    connection: &ConnectionSettings,
    limit: Duration,
    report: &mut Report,
) -> bool {
    let mut lines = Vec::new();
    for (host, address) in reached {
        let far = address.is_some_and(|address| !address.ip().is_loopback());
        let line = match secure(host, &connection.ssl, *address, limit).await {
            Ok(transport) => protected(transport, far),
            Err(problem) => unprotected(&problem, connection.ssl.mode),
        };
        lines.push(line.about(host.to_string()));
    }
    let usable = lines.iter().any(|line| line.status != Status::Failed);
    add(lines, report);
    usable
}

fn protected(transport: Transport, far: bool) -> Line {
    let exposed = "Anyone on the network path can read everything, including the password exchange.";
    let line = |found: &str| if far { Line::warning(Check::Tls, found) } else { Line::ok(Check::Tls, found) };
    match transport {
        Transport::Socket => Line::skipped(Check::Tls, "Unix sockets do not use TLS"),
        Transport::NotAsked if far => line("not encrypted: sslmode does not request it")
            .means(exposed)
            .fix("set sslmode=verify-full in the connection string"),
        Transport::NotAsked => line("not encrypted, but local to this machine"),
        Transport::NotOffered if far => {
            line("not encrypted: the server does not offer TLS").means(exposed).fix("turn ssl on in Postgres")
        }
        Transport::NotOffered => line("not encrypted, but local to this machine"),
        Transport::Tls { version, checked: true } => {
            Line::ok(Check::Tls, format!("{version}, and the server's identity is verified"))
        }
        Transport::Tls { version, checked: false } if far => line(&format!(
            "{version}, but the server's identity is not verified"
        ))
        .means("An attacker on the network path could impersonate the server.")
        .fix("set sslmode=verify-full in the connection string, with sslrootcert for a private certificate authority"),
        Transport::Tls { version, checked: false } => {
            line(&format!("{version}; the server's identity is not verified"))
        }
    }
}

fn unprotected(problem: &TlsProblem, mode: SslMode) -> Line {
    let found = problem.to_string();
    let line = match problem {
        TlsProblem::Files(_) => Line::failed(Check::Tls, found)
            .fix("correct the path in the connection string, or mount the file"),
        TlsProblem::NotOffered => Line::failed(Check::Tls, found)
            .means(format!("sslmode={mode} requires encryption, but the server has it off."))
            .fix("turn ssl on in Postgres (ssl, ssl_cert_file, ssl_key_file)"),
        TlsProblem::NotPostgres => Line::failed(Check::Tls, found)
            .means("Another program listens on that port.")
            .fix("correct host and port in the connection string"),
        TlsProblem::Certificate(problem) => {
            Line::failed(Check::Tls, found).means(meaning(problem)).fix(problem.fix())
        }
        TlsProblem::Handshake(_) => Line::failed(Check::Tls, found)
            .means("The server and this program cannot agree on a TLS session.")
            .fix("check the server's log, which may have details"),
        TlsProblem::Network(NetworkProblem::Silent(_)) => Line::failed(Check::Tls, found)
            .means(
                "The server accepts connections but does not use the Postgres protocol, or does not answer.",
            )
            .fix("correct host and port, or check the server"),
        TlsProblem::Network(_) => Line::failed(Check::Tls, found)
            .means("A program other than Postgres may listen on that port.")
            .fix("correct host and port"),
    };
    match (mode, problem) {
        // The second attempt is made without TLS.
        (
            SslMode::Prefer,
            TlsProblem::Certificate(_)
            | TlsProblem::Handshake(_)
            | TlsProblem::Network(NetworkProblem::Refused(_)),
        ) => Line { status: Status::Warning, ..line },
        _ => line,
    }
}

fn meaning(problem: &CertificateProblem) -> &'static str {
    match problem {
        CertificateProblem::SelfSigned => {
            "The server created it, as is common, or a machine between client and server intercepts the connection."
        }
        CertificateProblem::OfAnAuthority => {
            "It can sign other certificates, and is trusted only if sslrootcert names it."
        }
        CertificateProblem::UnknownIssuer => {
            "It is from a private certificate authority, or a machine between client and server intercepts the connection."
        }
        CertificateProblem::WrongName { .. } => {
            "sslmode=verify-full requires the certificate to name the host of the connection string."
        }
        CertificateProblem::NoName => {
            "sslmode=verify-full requires it to name the host of the connection string."
        }
        // The text of the problem is sufficient.
        CertificateProblem::Unreadable
        | CertificateProblem::UnsupportedKey(_)
        | CertificateProblem::UnsupportedAuthority(_)
        | CertificateProblem::UnsupportedSignature(_)
        | CertificateProblem::Expired
        | CertificateProblem::ExpiredAuthority
        | CertificateProblem::NotYetValid
        | CertificateProblem::NothingInCommon
        | CertificateProblem::Other(_) => "",
    }
}

async fn enter(connection: &Arc<ConnectionSettings>, timeouts: Timeouts, report: &mut Report) -> bool {
    let (entered, refused) = match log_in(Arc::clone(connection), timeouts).await {
        Ok(outcome) => outcome,
        Err(error) => {
            report.push(Line::failed(Check::Login, error.to_string()));
            return false;
        }
    };
    if let Some(attempt) = entered {
        let line = Line::ok(Check::Login, format!("as {:?}, at {attempt}", connection.user));
        let before = refused.iter().map(|refused| format!("{}: {}", refused.attempt, refused.reason));
        let before = before.collect::<Vec<_>>().join("; ");
        // With sslmode=prefer, a second attempt at a single host is normal and not reported.
        let is_news = connection.hosts.len() > 1 && !before.is_empty();
        report.push(if is_news { line.means(format!("Tried before: {before}")) } else { line });
        return true;
    }
    // With sslmode=prefer, this is only the first half of an attempt.
    let half = |refused: &&Refused| {
        connection.ssl.mode == SslMode::Prefer && refused.reason.contains("does not support TLS")
    };
    report.extend(
        refused.iter().filter(|refused| !half(refused)).map(|refused| explained(refused, connection)),
    );
    false
}

fn explained(refused: &Refused, connection: &ConnectionSettings) -> Line {
    let line = Line::failed(Check::Login, &refused.reason).about(&refused.attempt);
    let role = quoted(&connection.user);
    match &refused.problem {
        LoginProblem::Password => line
            .means("The password is wrong or has expired, the role has none, or the role does not exist: Postgres reports the same error for all four.")
            .fix(format!("set it again with psql: \\password {role}, and put the same one into the connection string"))
            .fix(format!("if it has expired (VALID UNTIL): ALTER ROLE {role} VALID UNTIL 'infinity';"))
            .fix(format!("if the role does not exist: {}", setup_sql(&connection.user))),
        LoginProblem::NoPassword => line
            .means("The server requires a password, but neither the connection string nor a password file has one.")
            .fix("set password in the connection string, PGPASSWORD or ~/.pgpass"),
        LoginProblem::NoRole => line
            .means("This server has no role with that name.")
            .fix(format!("create the role: {}", setup_sql(&connection.user)))
            .fix("or correct user in the connection string"),
        LoginProblem::NoLogin => line
            .means("The role exists, but lacks the LOGIN attribute.")
            .fix(format!("ALTER ROLE {role} LOGIN;")),
        LoginProblem::OtherMethod => line
            .means("The first line of the server's pg_hba.conf that matches this login requires something other than a password, such as the name of the system user (peer, ident) or a certificate.")
            .fix("set the method of that line to scram-sha-256, or add a line for this role, database and address before it"),
        LoginProblem::NoRule => line
            .means("The server's pg_hba.conf does not allow this login; it may require TLS, or not list this address.")
            .fix("add a line for this role, database and address to pg_hba.conf, or try sslmode=require"),
        LoginProblem::NoDatabase => line
            .means("A self-hosted Retool calls its database hammerhead_production.")
            .fix("correct dbname in the connection string"),
        LoginProblem::NoConnect { grant } => line.means("The role may not connect to this database.").fix(grant),
        LoginProblem::Full => line
            .means("The role, the database or the whole server has no connection left.")
            .fix("close some, raise CONNECTION LIMIT or max_connections, or lower pool_max_conns in the connection string"),
        LoginProblem::Closed { statement } => {
            line.means("The database exists but accepts no connections.").fix(statement)
        }
        LoginProblem::Starting => line
            .means("The server is starting, stopping or recovering from a crash.")
            .fix("wait, then retry; if the error persists, check the server's log"),
        LoginProblem::OtherKind => line.fix("set another target_session_attrs, or another host"),
        LoginProblem::Silent => line
            .means("The server accepts connections but does not use the Postgres protocol, or does not answer.")
            .fix("correct host and port, or check the server"),
        LoginProblem::NotPostgres => line
            .means("Another program listens on that port.")
            .fix("correct host and port in the connection string"),
        LoginProblem::Other => line
            .means("The server, or something between this machine and the server, ended the login.")
            .fix("check the server's log, which may have details"),
    }
}

/// The command that creates the role, quoted for a shell.
fn setup_sql(role: &str) -> String {
    // Only a NUL cannot be quoted, and connection strings do not contain it.
    let role = shlex::try_quote(role).unwrap_or_else(|_| "NAME".into());
    format!("baton-retool setup-sql --role {role}")
}
