//! `baton-retool [settings] _connector-service`: the connector as the child of an agent. The parent passes a
//! listening socket and, on stdin, the credentials for it. When stdin ends, the child exits.
//!
//! The error texts are those that parents of every version print; they are part of the protocol.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use clap::{ArgMatches, Command};
use listenfd::ListenFd;
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::cli::failure::{Failure, in_one_line};
use crate::cli::invalid::with_all_others;
use crate::cli::signals::handle_other_signals;
use crate::cli::wiring::{
    block_on, check_database_in_background, connector, serve_metrics, settings_with, stop_telemetry,
};
use crate::config::{Run, Settings};
use crate::proto::connector_wrapper::ServerConfig;
use crate::server::{Server, accept_parent_connection};
use crate::telemetry::logs;
use crate::telemetry::settings::LogTarget;

/// The name of the command.
pub(super) const NAME: &str = "_connector-service";
/// The variable in which the parent passes the file descriptor of the socket.
const LISTENER: &str = "BATON_CONNECTOR_SERVICE_LISTENER_FD";
/// Longest line that parents of any version can send, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;
/// How long a child that cannot serve waits for its parent to connect.
const LAST_CONNECTION: Duration = Duration::from_secs(2);

/// The data from the parent, or the error in receiving it.
type Received = Result<Handover, Error>;

/// The data that the parent passes.
struct Handover {
    config: ServerConfig,
    listener: TcpListener,
}

/// The reason why the child cannot serve its parent.
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

pub(super) fn command() -> Command {
    Command::new(NAME).hide(true).about("Serve the agent that started this process")
}

/// Whether the command line requests the child, even if the command line is invalid.
pub(super) fn is_requested(parsed: &Result<ArgMatches, clap::Error>, arguments: &[OsString]) -> bool {
    match parsed {
        Ok(matches) => matches.subcommand_name() == Some(NAME),
        Err(error) => error.use_stderr() && arguments.iter().any(|argument| argument == NAME),
    }
}

/// Serves the parent until stdin ends. The process then exits with code 0. After any failure it exits with
/// code 1, as all versions do, with only the reason as the last line on stderr.
pub(super) fn run(parsed: Result<ArgMatches, clap::Error>, arguments: &[OsString]) -> ExitCode {
    announce_listener(arguments);
    let settings = settings(parsed);
    let served = block_on(async {
        let mut handover = None;
        let served = match settings {
            Ok(settings) => serve(settings, &mut handover).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &served {
            // The reason is the last line on stderr.
            logs::flush();
            // The reason is written before the wait for the parent, which may end the process. A closed
            // stderr cannot be reported.
            let _ = writeln!(io::stderr(), "{}", failure.message());
            // The wait may time out, and it is impossible if the data of the parent is invalid.
            let _ = timeout(LAST_CONNECTION, let_parent_connect(handover)).await;
        }
        served
    });
    stop_telemetry(&served);
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn settings(parsed: Result<ArgMatches, clap::Error>) -> Result<Settings, Failure> {
    let matches = parsed.map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().next().unwrap_or_default();
        Failure::usage(anyhow!("{}", reason.trim_start_matches("error: ").to_owned()))
    })?;
    // A parent reads the child's stderr, whatever its own log settings.
    let matches = matches.subcommand_matches(NAME).unwrap_or(&matches);
    let settings = settings_with(matches, |logs| logs.paths = vec![LogTarget::Stderr]);
    with_all_others(Run::ServeOwn, matches, settings)
}

/// Leaves the data of the parent in `handover`, because [`let_parent_connect`] needs it after a failure.
async fn serve(settings: Settings, handover: &mut Option<Received>) -> Result<(), Failure> {
    // Problems of the settings are reported before the parent sends anything.
    handle_other_signals();
    let connector = connector(&settings)?;
    let server = Server::new(connector.clone()).with_limits(settings.server.limits);
    let received = handover.insert(Handover::receive().await);
    let Handover { config, listener } =
        received.as_ref().map_err(|error| Failure::run(anyhow!(error.to_string())))?;
    let credential = config.credential.clone().unwrap_or_default();
    let listener = listener.try_clone().map_err(Failure::run)?;
    let listening =
        server.adopt(listener, &credential, config.rate_limiter_config.as_ref()).map_err(Failure::run)?;
    check_database_in_background(&connector);
    // The child is more important to an agent than its metrics.
    if let Err(error) = serve_metrics(&settings).await {
        tracing::warn!(error = in_one_line(&error), "cannot serve metrics to Prometheus");
    }
    tracing::info!(address = listening.address(), "serving the parent process");
    listening.serve_parent().await.map_err(Failure::run)
}

/// Lets the parent connect, so that it notices the end of this process (see [`accept_parent_connection`]).
async fn let_parent_connect(handover: Option<Received>) -> anyhow::Result<()> {
    let Handover { config, listener } = match handover {
        Some(received) => received?,
        None => Handover::receive().await?,
    };
    Ok(accept_parent_connection(listener, &config.credential.unwrap_or_default()).await?)
}

/// Restarts the program so that it can adopt the inherited socket. Does not return on success.
///
/// Creating a socket from a file descriptor is unsafe in Rust, and is allowed only for code that knows that
/// the descriptor has no other owner. `listenfd` does this for sockets announced by the `LISTEN_` variables.
/// These can be set only for a new program, so this process executes the program again, with the same process
/// id and descriptors.
pub(super) fn announce_listener(arguments: &[OsString]) {
    let Ok(number) = listener_number() else { return };
    let pid = process::id().to_string();
    let announced = env::var("LISTEN_PID").is_ok_and(|announced| announced == pid);
    let (Ok(program), false) = (env::current_exe(), announced) else { return };
    let mut command = process::Command::new(program);
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    let error = command
        .env("LISTEN_PID", pid)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", number.to_string())
        .exec();
    tracing::warn!(%error, "cannot restart the process with the listening socket of its parent");
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

impl Handover {
    /// Receives the parent's data from stdin, and its socket. From then on the process exits when stdin ends,
    /// whatever it is doing.
    async fn receive() -> Received {
        let (send, received) = oneshot::channel();
        // The exit of the program does not wait for this thread, unlike for a thread of the runtime.
        thread::spawn(move || {
            let mut stdin = BufReader::new(io::stdin());
            // The line is read before the watch starts. Otherwise the end of stdin would end the process
            // without an error.
            let line = read_line(&mut stdin);
            let watched = line.is_ok();
            // The receiver may have been dropped.
            let _ = send.send(line);
            if watched {
                let mut ignored = [0; 64];
                while !matches!(stdin.read(&mut ignored), Ok(0) | Err(_)) {}
                stop_telemetry(&Ok(()));
                logs::flush();
                process::exit(0);
            }
        });
        let line = received.await.unwrap_or(Err(Error::EmptyInput))?;
        let config = parse(line)?;
        let listener = inherited(config.listen_port)?;
        Ok(Self { config, listener })
    }
}

fn read_line(stdin: &mut impl BufRead) -> Result<Vec<u8>, Error> {
    let mut line = Vec::new();
    match stdin.take(LONGEST_LINE + 1).read_until(b'\n', &mut line)? {
        0 => Err(Error::EmptyInput),
        read if read as u64 > LONGEST_LINE => Err(Error::LongInput),
        _ => Ok(line),
    }
}

fn parse(mut line: Vec<u8>) -> Result<ServerConfig, Error> {
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
