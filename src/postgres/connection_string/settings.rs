//! What a connection string says once it is completed and checked.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::postgres::connection_string::environment::Environment;
use crate::postgres::connection_string::error::{ConnectionStringError, Origin};
use crate::postgres::connection_string::hosts::{self, Address, Host};
use crate::postgres::connection_string::layers::{Layer, Layers, Pairs};
use crate::postgres::connection_string::password_file::PasswordFile;
use crate::postgres::connection_string::pool_settings::{self, PoolSettings};
use crate::postgres::connection_string::session_settings::{
    self, ChannelBinding, Keepalive, TargetSessionAttrs,
};
use crate::postgres::connection_string::{keyword, service_file, ssl, url};
use crate::postgres::tls::TlsSettings;

/// A connection string, completed and checked. Holds passwords, but shows none in `Debug`.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    /// The servers, in the order to try them, with the passwords that were known at the start; never empty.
    pub hosts: Vec<Host>,
    /// Where passwords are looked up for each new connection; nothing where the settings have one.
    pub password_file: Option<PathBuf>,
    /// The database user.
    pub user: String,
    /// The database.
    pub database: String,
    /// How the sessions call themselves to the server; nothing if nobody chose a name.
    pub application_name: Option<String>,
    /// How long one attempt to connect may take; nothing means no limit.
    pub connect_timeout: Option<Duration>,
    /// What is wanted of TLS.
    pub ssl: TlsSettings,
    /// What kind of server is wanted.
    pub target_session_attrs: TargetSessionAttrs,
    /// Whether the password exchange is tied to TLS.
    pub channel_binding: ChannelBinding,
    /// Whether each round of attempts takes the hosts in another order (`load_balance_hosts=random`).
    pub shuffle_hosts: bool,
    /// TCP keepalive; nothing means off.
    pub keepalive: Option<Keepalive>,
    /// How long sent data may stay unacknowledged before the connection counts as lost.
    pub tcp_user_timeout: Option<Duration>,
    /// How many connections are kept and for how long.
    pub pool: PoolSettings,
    /// Command line options for the server's session, as given.
    pub options: Option<String>,
    /// Parameters for the server, each name once; it refuses those it does not know.
    pub run_time_parameters: Vec<(String, String)>,
    /// What the operator should hear of although it is no error, to be logged once.
    pub warnings: Vec<String>,
}

impl ConnectionSettings {
    /// Reads a connection string and completes it from its surroundings, including the password file, the
    /// service file and the look for sockets and certificates in the places that libpq looks in.
    ///
    /// # Errors
    /// [`ConnectionStringError`] says which setting is wrong, where it was given and what it takes. Neither its
    /// text nor its fields repeat a value, other than the path of a service file and the bounds of the pool.
    pub(crate) fn parse(
        text: &SecretString,
        environment: &Environment,
    ) -> Result<Self, ConnectionStringError> {
        let layers = layers(text.expose_secret(), environment)?;
        let mut warnings = Vec::new();

        let user = layers.text("user").or(environment.user.as_deref());
        let user = user.ok_or(ConnectionStringError::NoUser)?.to_owned();
        let database = layers.text("dbname").ok_or(ConnectionStringError::NoDatabase)?.to_owned();
        let mut hosts = hosts::read(&layers, environment)?;
        check_names(&layers, &hosts)?;
        let password_file =
            give_passwords(&mut hosts, &layers, environment, (&database, &user), &mut warnings);
        let ssl = ssl::read(&layers, environment, &mut warnings)?;
        let session = session_settings::read(&layers)?;
        let application_name = layers.text("application_name").or(layers.text("fallback_application_name"));

        Ok(Self {
            hosts,
            password_file,
            user,
            database,
            application_name: application_name.map(str::to_owned),
            connect_timeout: session.connect_timeout,
            ssl,
            target_session_attrs: session.target_session_attrs,
            channel_binding: session.channel_binding,
            shuffle_hosts: session.shuffle_hosts,
            keepalive: session.keepalive,
            tcp_user_timeout: session.tcp_user_timeout,
            pool: pool_settings::read(&layers, environment.processors)?,
            options: layers.text("options").map(str::to_owned),
            run_time_parameters: layers.run_time_parameters(),
            warnings,
        })
    }

    /// Options and run-time parameters as one command line for the start of a session, or nothing if there are
    /// neither. A parameter beats the same one in the options.
    pub(crate) fn startup_options(&self) -> Option<String> {
        let parameters = self
            .run_time_parameters
            .iter()
            .map(|(name, value)| format!("-c {name}={}", escape_option(value)));
        let words: Vec<String> = self.options.iter().cloned().chain(parameters).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    /// Who connects to what and how safely, for logs: no password, and nothing that could break a line.
    pub(crate) fn describe(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(describe_host).collect();
        format!(
            "postgres://{}@{}/{} (sslmode={})",
            url::encode(&self.user),
            hosts.join(","),
            url::encode(&self.database),
            self.ssl.mode
        )
    }
}

/// The sources in order: string, service, environment. The service may be named in the string or by a variable.
fn layers(text: &str, environment: &Environment) -> Result<Layers, ConnectionStringError> {
    let text = text.trim();
    let pairs = if url::is_url(text) { url::parse(text)? } else { keyword::parse(text)? };
    let string = from_one_place(pairs, Origin::ConnectionString)?;
    let mut layers = Layers(vec![string, environment.layer()?]);
    let service = match layers.text_from("service") {
        Some((service, origin)) => {
            let path = layers.text("servicefile").map(PathBuf::from);
            let path = path.or_else(|| environment.at_home(".pg_service.conf"));
            let path = path.ok_or(ConnectionStringError::NoServiceFile)?;
            from_one_place(service_file::read(&path, service, origin)?, Origin::ServiceFile)?
        }
        None => return Ok(layers),
    };
    layers.0.insert(1, service);
    Ok(layers)
}

/// Names that hold more than a name, such as another connection string or a password, would be repeated in logs and
/// messages.
fn check_names(layers: &Layers, hosts: &[Host]) -> Result<(), ConnectionStringError> {
    let wrong = |key, expected| {
        let origin = layers.text_from(key).map_or(Origin::ConnectionString, |(_, origin)| origin);
        Err(ConnectionStringError::Invalid { key, origin, expected })
    };
    if layers.text("dbname").is_some_and(|name| name.contains("://") || name.contains('=')) {
        return wrong("dbname", "the name of a database, not another connection string");
    }
    if layers.text("user").is_some_and(|name| name.contains(':')) {
        return wrong("user", "the name of a role, without a colon: the password goes into password");
    }
    let is_more =
        |host: &Host| matches!(&host.address, Address::Tcp { name, .. } if name.contains(['@', '/']));
    if hosts.iter().any(is_more) {
        return wrong("host", "names or addresses of hosts, without user and password");
    }
    Ok(())
}

fn from_one_place(pairs: Pairs, origin: Origin) -> Result<Layer, ConnectionStringError> {
    Layer::new(pairs.into_iter().map(|(key, value)| (key, value, origin)))
}

/// Gives each host the password that was set, or else the one the password file has for it. The file, where it is
/// the one to ask.
fn give_passwords(
    hosts: &mut [Host],
    layers: &Layers,
    environment: &Environment,
    (database, user): (&str, &str),
    warnings: &mut Vec<String>,
) -> Option<PathBuf> {
    if let Some(password) = layers.text("password") {
        for host in hosts {
            host.password = Some(password.into());
        }
        return None;
    }
    let named = layers.text("passfile").map(PathBuf::from);
    let is_named = named.is_some();
    let path = named.or_else(|| environment.at_home(".pgpass"))?;
    let file = PasswordFile::read(&path, is_named, warnings);
    for host in hosts {
        host.password = file.password(&host.names(), host.port, database, user);
    }
    Some(path)
}

/// The server splits the command line at white space and takes what follows a backslash as it is.
fn escape_option(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        // White space as C sees it, which has the vertical tab that Rust's ASCII test leaves out.
        if character == '\\' || character == '\u{b}' || character.is_ascii_whitespace() {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn describe_host(host: &Host) -> String {
    let name = match &host.address {
        // Not by encode, which would turn the colons of IPv6 into noise.
        Address::Tcp { name, .. } if name.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{name}]"),
        Address::Tcp { name, .. } => url::encode(name),
        Address::Unix(directory) => url::encode(&directory.to_string_lossy()),
    };
    format!("{name}:{}", host.port)
}
