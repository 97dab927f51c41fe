//! The completed and validated connection settings.

use std::net::Ipv6Addr;
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

/// A completed and validated connection string. Holds passwords, but `Debug` shows none.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    /// The servers in the order to try them, with the passwords known at startup; never empty.
    pub hosts: Vec<Host>,
    /// The file that is searched for a password on each new connection; `None` if the settings have a
    /// password.
    pub password_file: Option<PathBuf>,
    /// The database user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The application name of the sessions; `None` if none is set.
    pub application_name: Option<String>,
    /// Timeout of one attempt to connect; `None` means no limit.
    pub connect_timeout: Option<Duration>,
    /// The TLS settings.
    pub ssl: TlsSettings,
    /// The required kind of server.
    pub target_session_attrs: TargetSessionAttrs,
    /// Whether the password exchange is tied to TLS.
    pub channel_binding: ChannelBinding,
    /// Whether each round of attempts takes the hosts in random order (`load_balance_hosts=random`).
    pub shuffle_hosts: bool,
    /// TCP keepalive; `None` means off.
    pub keepalive: Option<Keepalive>,
    /// How long sent data may stay unacknowledged before the connection counts as lost.
    pub tcp_user_timeout: Option<Duration>,
    /// The size of the pool and the lifetime of its connections.
    pub pool: PoolSettings,
    /// Command line options for the server's session, as given.
    pub options: Option<String>,
    /// Parameters for the server, each name once. The server rejects unknown names.
    pub run_time_parameters: Vec<(String, String)>,
    /// Warnings for the operator, to be logged once.
    pub warnings: Vec<String>,
}

impl ConnectionSettings {
    /// Parses a connection string and completes it from its environment: the password file, the service file,
    /// and sockets and certificates in libpq's default locations.
    ///
    /// # Errors
    /// [`ConnectionStringError`] names the invalid setting, its source and its valid values. Neither its text
    /// nor its fields contain values, except the path of a service file and the limits of the pool.
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
        check_names(&layers, &hosts, url::is_url(text.expose_secret().trim()))?;
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

    /// Options and run-time parameters as one command line for the start of a session; `None` if there are
    /// neither. A parameter overrides the same parameter in the options.
    pub(crate) fn startup_options(&self) -> Option<String> {
        let parameters = self
            .run_time_parameters
            .iter()
            .map(|(name, value)| format!("-c {name}={}", escape_option(value)));
        let words: Vec<String> = self.options.iter().cloned().chain(parameters).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    /// User, hosts, database and SSL mode for logs, without passwords and without characters that could break
    /// a line.
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

    /// Everything that decides which tables a session finds: hosts, database, and the user and the options, which set the
    /// search_path. For a checksum only: the options can contain anything.
    pub(crate) fn source(&self) -> String {
        let addresses: Vec<&Address> = self.hosts.iter().map(|host| &host.address).collect();
        format!("{} {addresses:?} {:?}", self.describe(), self.startup_options())
    }
}

/// The sources in order: string, service, environment. The string or a variable may name the service.
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

/// Rejects names that contain more than a name, such as another connection string or a password, because logs
/// and messages repeat names.
///
/// A URL has escaped the separators in the name of its database, so they are a part of the name.
fn check_names(layers: &Layers, hosts: &[Host], is_url: bool) -> Result<(), ConnectionStringError> {
    if let Some((name, origin)) = layers.text_from("dbname") {
        let is_escaped = is_url && origin == Origin::ConnectionString;
        if name.contains("://") || name.contains('=') || !is_escaped && name.contains(['@', ':', '/']) {
            return Err(layers.invalid(
                "dbname",
                "the name of a database, not another connection string (a name with : / or @ needs the form \
                 postgres://, with %3A %2F or %40)",
            ));
        }
    }
    if layers.text("user").is_some_and(|name| name.contains(':')) {
        return Err(layers
            .invalid("user", "the name of a role, without a colon; set the password in the key password"));
    }
    if hosts.iter().any(|host| is_more_than_a_host(&host.address)) {
        return Err(layers.invalid(
            "host",
            "names or addresses of hosts or folders of sockets, without user, password and port",
        ));
    }
    Ok(())
}

fn is_more_than_a_host(address: &Address) -> bool {
    match address {
        Address::Tcp { name, .. } => {
            // The zone of a link-local address follows a percent sign.
            let address = name.split_once('%').map_or(name.as_str(), |(address, _)| address);
            name.contains(['@', '/']) || name.contains(':') && address.parse::<Ipv6Addr>().is_err()
        }
        Address::Unix(folder) => {
            // The folders of Cloud SQL contain colons: /cloudsql/PROJECT:REGION:INSTANCE.
            let folder = folder.to_string_lossy();
            folder.starts_with("//") || folder.contains('@')
        }
    }
}

fn from_one_place(pairs: Pairs, origin: Origin) -> Result<Layer, ConnectionStringError> {
    Layer::new(pairs.into_iter().map(|(key, value)| (key, value, origin)))
}

/// Sets each host's password: the password of the settings, or else the one in the password file. Returns the
/// path of the file if it is used.
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

/// Escapes a value. The server splits the command line at white space and removes the backslash before an
/// escaped character.
fn escape_option(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        // White space in C includes the vertical tab, which Rust's ASCII check leaves out.
        if character == '\\' || character == '\u{b}' || character.is_ascii_whitespace() {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn describe_host(host: &Host) -> String {
    let name = match &host.address {
        // Without `encode`, which would escape the colons of IPv6.
        Address::Tcp { name, .. } if name.parse::<Ipv6Addr>().is_ok() => format!("[{name}]"),
        Address::Tcp { name, .. } => url::encode(name),
        Address::Unix(directory) => url::encode(&directory.to_string_lossy()),
    };
    format!("{name}:{}", host.port)
}
