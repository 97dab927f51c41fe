//! `baton-retool [settings] _connector-service`: the connector as the child of an agent (spec, child
//! process). The parent hands over a listening socket and, on stdin, the credentials for it; when stdin
//! ends, so does the child.
//!
//! The texts of the errors are those that parents of every version print; they are part of the protocol.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::thread;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use listenfd::ListenFd;
use prost::Message;

use super::{Failure, connector, look_ahead};
use crate::config::Settings;
use crate::proto::connector_wrapper::ServerConfig;
use crate::server::Server;

/// The name of the command.
pub(super) const NAME: &str = "_connector-service";
/// The variable in which the parent says which file descriptor is the socket.
const LISTENER: &str = "BATON_CONNECTOR_SERVICE_LISTENER_FD";
/// Longest line that parents of any version can send, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// Why the child cannot serve its parent.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("missing required listener fd")]
    NoListener,
    #[error("invalid listener fd: {0:?} is not a number")]
    NotANumber(OsString),
    #[error("invalid listener fd: must be non-negative")]
    Negative,
    #[error("file file+net listener: {0}")]
    NotAListener(String),
    #[error("listen port mismatch: {actual} != {expected}")]
    Port { actual: u16, expected: u32 },
    #[error("unexpected empty input")]
    EmptyInput,
    #[error("failed to read stdin: {0}")]
    Stdin(#[from] io::Error),
    #[error("failed to read stdin: the line has more than {LONGEST_LINE} bytes")]
    LongInput,
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    #[error("proto: cannot parse invalid wire-format data")]
    Proto,
}

/// Starts the program over so that the inherited socket can be adopted, and does not return if that
/// works.
///
/// Making a socket of a bare number is unsafe in Rust, and only whoever knows that nobody else uses the
/// number may do it. `listenfd` does, for sockets announced by the `LISTEN_` variables; they can only be
/// set for a new program, so this one becomes it, with the same process id and descriptors.
pub(super) fn announce_listener(arguments: &[OsString]) {
    let Ok(number) = listener_number() else { return };
    let pid = process::id().to_string();
    let announced = env::var("LISTEN_PID").is_ok_and(|announced| announced == pid);
    let (Ok(program), false) = (env::current_exe(), announced) else { return };
    let mut command = Command::new(program);
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    let error = command
        .env("LISTEN_PID", pid)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", number.to_string())
        .exec();
    tracing::warn!(%error, "could not start over to adopt the listener");
}

fn listener_number() -> Result<i32, Error> {
    let given = env::var_os(LISTENER).filter(|given| !given.is_empty()).ok_or(Error::NoListener)?;
    let number = given.to_str().and_then(|text| text.parse::<i32>().ok());
    match number {
        Some(0..) => number.ok_or(Error::Negative),
        Some(_) => Err(Error::Negative),
        None => Err(Error::NotANumber(given)),
    }
}

/// Serves the parent until stdin ends.
pub(super) async fn run(settings: Settings) -> Result<(), Failure> {
    let failed = |error: Error| Failure::Run(error.into());
    let config = tokio::task::spawn_blocking(read_config)
        .await
        .map_err(|error| Failure::Run(error.into()))?
        .map_err(failed)?;
    let connector = connector(&settings)?;
    look_ahead(&connector);
    let listener = inherited(config.listen_port).map_err(failed)?;
    Server::new(connector)
        .serve_parent(listener, &config.credential.unwrap_or_default(), config.rate_limiter_config.as_ref())
        .await
        .map_err(|error| Failure::Run(error.into()))
}

/// The one line on stdin. From then on the end of stdin ends the process, whatever it is doing.
fn read_config() -> Result<ServerConfig, Error> {
    let mut stdin = BufReader::new(io::stdin());
    let mut line = Vec::new();
    let read = stdin.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut line)?;
    match read {
        // Before the watch begins, or it would end the process without a word.
        0 => return Err(Error::EmptyInput),
        read if read as u64 > LONGEST_LINE => return Err(Error::LongInput),
        _ => {}
    }
    thread::spawn(move || {
        let mut ignored = [0; 64];
        while !matches!(stdin.read(&mut ignored), Ok(0) | Err(_)) {}
        process::exit(0);
    });
    line.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    if line.is_empty() {
        return Err(Error::EmptyInput);
    }
    let encoded = GeneralPurpose::new(&ALPHABET, PAD)
        .decode(&line)
        .map_err(|error| Error::Base64(position(&error, line.len())))?;
    ServerConfig::decode(encoded.as_slice()).map_err(|_| Error::Proto)
}

fn position(error: &base64::DecodeError, length: usize) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => length,
    }
}

fn inherited(expected: u32) -> Result<TcpListener, Error> {
    listener_number()?;
    let listener = ListenFd::from_env()
        .take_tcp_listener(0)
        .map_err(|error| Error::NotAListener(error.to_string()))?
        .ok_or_else(|| Error::NotAListener("bad file descriptor".to_owned()))?;
    if !socket2::SockRef::from(&listener).is_listener()? {
        return Err(Error::NotAListener("the socket does not listen".to_owned()));
    }
    let actual = listener.local_addr()?.port();
    if u32::from(actual) != expected {
        return Err(Error::Port { actual, expected });
    }
    Ok(listener)
}
