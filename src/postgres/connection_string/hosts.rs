//! Which servers a connection string names.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use crate::postgres::connection_string::environment::Environment;
use crate::postgres::connection_string::error::ConnectionStringError;
use crate::postgres::connection_string::layers::Layers;

/// The port of a Postgres that was told nothing else.
const DEFAULT_PORT: u16 = 5432;

/// One server that may be connected to.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Where it is.
    pub address: Address,
    /// Its port; part of the socket's name for a socket.
    pub port: u16,
    /// The password to give it, from the settings or else from the password file; none if nobody knows one.
    pub password: Option<SecretString>,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// Over the network.
    Tcp {
        /// The name (or address) that is looked up and that the server's certificate has to show.
        name: String,
        /// The address to connect to instead of looking up the name (`hostaddr`).
        address: Option<IpAddr>,
    },
    /// Through a socket in this directory.
    Unix(PathBuf),
}

impl Host {
    /// The names under which a password file may know the server. A socket also goes by `localhost`.
    pub(crate) fn names(&self) -> Vec<&str> {
        match &self.address {
            Address::Tcp { name, .. } => vec![name],
            Address::Unix(directory) => directory.to_str().into_iter().chain(["localhost"]).collect(),
        }
    }
}

/// `name:port`, `[IPv6]:port` or the path of the socket.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { name, .. } if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Address::Tcp { name, .. } => write!(f, "{name}:{}", self.port),
            Address::Unix(directory) => {
                write!(f, "{}", directory.join(format!(".s.PGSQL.{}", self.port)).display())
            }
        }
    }
}

/// The servers in the order named, still without passwords; at least one.
///
/// # Errors
/// An address or port that is none, or lists whose lengths do not go together.
pub(crate) fn read(layers: &Layers, environment: &Environment) -> Result<Vec<Host>, ConnectionStringError> {
    let names = list(layers, "host");
    let addresses = list(layers, "hostaddr");
    let ports = list(layers, "port");
    let count = names.len().max(addresses.len()).max(1);
    let fits = |key: &'static str, given: usize, single: bool| {
        if given == 0 || given == count || (single && given == 1) {
            return Ok(());
        }
        let wanted = if single { "one for all, or one for each" } else { "one for each (it may be empty)" };
        Err(ConnectionStringError::ListLength { key, given, hosts: names.len().max(1), wanted })
    };
    fits("host", names.len(), false)?;
    fits("hostaddr", addresses.len(), false)?;
    fits("port", ports.len(), true)?;

    let entry = |list: &[&str], index: usize| list.get(index).copied().unwrap_or_default().to_owned();
    (0..count)
        .map(|index| {
            let port = if ports.len() == 1 { entry(&ports, 0) } else { entry(&ports, index) };
            let port = read_port(layers, &port)?;
            let address = read_address(layers, &entry(&addresses, index))?;
            let address = locate(layers, environment, entry(&names, index), address, port)?;
            Ok(Host { address, port, password: None })
        })
        .collect()
}

/// The entries of a setting that is a list; none when nothing is set.
fn list<'a>(layers: &'a Layers, key: &'static str) -> Vec<&'a str> {
    layers.text(key).map_or_else(Vec::new, |value| value.split(',').map(str::trim).collect())
}

fn read_port(layers: &Layers, port: &str) -> Result<u16, ConnectionStringError> {
    if port.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    match port.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(layers.invalid("port", "a number from 1 to 65535, or a list of them with commas")),
    }
}

fn read_address(layers: &Layers, address: &str) -> Result<Option<IpAddr>, ConnectionStringError> {
    if address.is_empty() {
        return Ok(None);
    }
    let expected = "an IPv4 or IPv6 address, or a list of them with commas";
    address.parse().map(Some).map_err(|_| layers.invalid("hostaddr", expected))
}

fn locate(
    layers: &Layers,
    environment: &Environment,
    name: String,
    address: Option<IpAddr>,
    port: u16,
) -> Result<Address, ConnectionStringError> {
    if name.starts_with('@') || name.contains('\0') {
        return Err(layers.invalid("host", "a host name, an address or the path of a socket directory"));
    }
    Ok(match address {
        Some(ip) if name.is_empty() || name.starts_with('/') => {
            Address::Tcp { name: ip.to_string(), address }
        }
        Some(_) => Address::Tcp { name, address },
        None if name.starts_with('/') => Address::Unix(PathBuf::from(name)),
        None if name.is_empty() => environment
            .socket_directory(port)
            .map(Path::to_owned)
            .map_or_else(|| Address::Tcp { name: String::from("localhost"), address: None }, Address::Unix),
        None => Address::Tcp { name, address: None },
    })
}
