//! The gRPC server.

use std::path::PathBuf;
use std::time::Duration;

use super::{pair, path, seconds};
use crate::config::error::Error;
use crate::config::layers::{Layers, Text, invalid};
use crate::config::setting::Setting;
use crate::config::table::{
    AUTH_TOKEN_FILE, HEALTH_WITHOUT_TOKEN, INSECURE, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_TIMEOUT_SECONDS,
    LISTEN, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_REQUEST_BYTES, MAX_REQUESTS, MAX_RESPONSE_BYTES,
    MAX_STREAMS, REFLECTION, REQUEST_TIMEOUT_SECONDS, SHUTDOWN_GRACE_SECONDS, TLS_CERT, TLS_CLIENT_CA,
    TLS_KEY,
};
use crate::config::values::ListenAddress;

/// How callers reach the gRPC server, and what they may take from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where it listens.
    pub listen: ListenAddress,
    /// Its certificate; without one, connections are not encrypted.
    pub tls: Option<TlsSettings>,
    /// The file with the tokens of which callers must present one; without it, nobody is asked.
    pub auth_token_file: Option<PathBuf>,
    /// Whether unencrypted connections are accepted where other machines can make them. Whether the
    /// address is such a one is for the server to judge, once the host is resolved.
    pub insecure: bool,
    /// Whether callers can ask which calls there are.
    pub reflection: bool,
    /// Whether gRPC health checks are answered without a token.
    pub health_without_token: bool,
    /// What callers may take from it.
    pub limits: LimitSettings,
}

/// The files of a server's TLS, all PEM. Not opened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and those between it and its CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The CAs one of which must have signed a caller's certificate; without them, no caller needs one.
    pub client_ca: Option<PathBuf>,
}

/// What callers may take from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Connections at a time; at least 1.
    pub connections: usize,
    /// Calls at a time on one connection; at least 1.
    pub streams: u32,
    /// Calls at a time on all connections; at least 1.
    pub requests: usize,
    /// Largest request message in bytes; at least 1 KiB.
    pub request_bytes: usize,
    /// Largest answer in bytes; at least the 2 MiB that a page of a listing may have.
    pub response_bytes: usize,
    /// Largest set of request headers in bytes; at least 1 KiB.
    pub header_bytes: u32,
    /// Longest that a call may take, in whole seconds; not zero.
    pub deadline: Duration,
    /// Silence after which a connection is pinged; not zero.
    pub keepalive_interval: Duration,
    /// Longest that the answer to a ping may take; not zero.
    pub keepalive_timeout: Duration,
    /// Longest that calls may go on after the order to stop; zero ends them at once.
    pub grace: Duration,
}

impl ServerSettings {
    pub(super) fn read(layers: &Layers) -> Result<Self, Error> {
        Ok(Self {
            listen: listen(layers)?,
            tls: TlsSettings::read(layers)?,
            auth_token_file: layers.text(&AUTH_TOKEN_FILE)?.map(path),
            insecure: layers.switch(&INSECURE)?,
            reflection: layers.switch(&REFLECTION)?,
            health_without_token: layers.switch(&HEALTH_WITHOUT_TOKEN)?,
            limits: LimitSettings::read(layers)?,
        })
    }
}

impl TlsSettings {
    fn read(layers: &Layers) -> Result<Option<Self>, Error> {
        let files = pair(layers, &TLS_CERT, &TLS_KEY)?;
        let client_ca = layers.text(&TLS_CLIENT_CA)?;
        match (files, client_ca) {
            (Some((certificate, key)), client_ca) => Ok(Some(Self {
                certificate: path(certificate),
                key: path(key),
                client_ca: client_ca.map(path),
            })),
            // An operator who asks for certificates must not get a server that asks nobody.
            (None, Some(client_ca)) => Err(without(&TLS_CLIENT_CA, client_ca, &TLS_CERT)),
            (None, None) => Ok(None),
        }
    }
}

impl LimitSettings {
    fn read(layers: &Layers) -> Result<Self, Error> {
        Ok(Self {
            connections: layers.whole(&MAX_CONNECTIONS)?,
            streams: layers.whole(&MAX_STREAMS)?,
            requests: layers.whole(&MAX_REQUESTS)?,
            request_bytes: layers.whole(&MAX_REQUEST_BYTES)?,
            response_bytes: layers.whole(&MAX_RESPONSE_BYTES)?,
            header_bytes: layers.whole(&MAX_HEADER_BYTES)?,
            deadline: seconds(layers, &REQUEST_TIMEOUT_SECONDS)?,
            keepalive_interval: seconds(layers, &KEEPALIVE_INTERVAL_SECONDS)?,
            keepalive_timeout: seconds(layers, &KEEPALIVE_TIMEOUT_SECONDS)?,
            grace: seconds(layers, &SHUTDOWN_GRACE_SECONDS)?,
        })
    }
}

fn listen(layers: &Layers) -> Result<ListenAddress, Error> {
    let Text { value, origin } = layers.required_text(&LISTEN)?;
    ListenAddress::parse(value.trim()).map_err(|problem| invalid(&LISTEN, &origin, problem))
}

fn without(given: &Setting, text: Text, missing: &Setting) -> Error {
    Error::Without {
        given: given.name,
        origin: text.origin,
        missing: missing.name,
        variable: missing.variable(),
    }
}
