//! The servers in a connection string.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use crate::postgres::connection_string::environment::Environment;
use crate::postgres::connection_string::error::ConnectionStringError;
use crate::postgres::connection_string::layers::Layers;

/// The default port of Postgres.
const DEFAULT_PORT: u16 = 5432;

/// A server to connect to.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// The address.
    pub address: Address,
    /// The port; for a socket, a part of its file name.
    pub port: u16,
    /// The password for this server, from the settings or else from the password file; `None` if neither has
    /// one.
    pub password: Option<SecretString>,
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// Over the network.
    Tcp {
        /// The name (or address) to look up, which the server's certificate must contain.
        name: String,
        /// The address to connect to without looking up the name (`hostaddr`).
        address: Option<IpAddr>,
    },
    /// Through a socket in this directory.
    Unix(PathBuf),
}

impl Host {
    /// The server's names in a password file. A socket also matches `localhost`.
    pub(crate) fn names(&self) -> Vec<&str> {
        match &self.address {
            Address::Tcp { name, .. } => vec![name],
            Address::Unix(directory) => directory.to_str().into_iter().chain(["localhost"]).collect(),
        }
    }
}

/// Writes `name:port`, `[IPv6]:port` or the path of the socket.
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

/// Reads the servers in order, without passwords; at least one.
///
/// # Errors
/// An address or port is invalid, or lists have different lengths.
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

/// The entries of a list setting; empty if it is not set.
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
