//! `baton-retool health-check`: calls the HTTP health endpoint of a running server, for a container's probe.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::failure::Failure;
use crate::cli::wiring::block_on;
use crate::config::{self, Sources};
use crate::server::HealthSettings;

/// The name of the command.
pub(super) const NAME: &str = "health-check";

const ENDPOINTS: [&str; 3] = ["health", "ready", "live"];

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Check the health of a running program: exit code 0 or 1")
        .long_about("Calls the HTTP health endpoint of a program that runs with --health-check, at --health-check-bind-address and --health-check-port. Exits with code 0 and no output if the response is 200; otherwise exits with code 1 and prints the reason.")
        .after_help("Examples:\n  baton-retool health-check --endpoint live\n  baton-retool health-check --health-check-port 8082 --timeout 2")
        .arg(
            Arg::new("endpoint")
                .long("endpoint")
                .value_name("NAME")
                .help("Endpoint to check: health (the database answers), ready (calls or tasks are accepted) or live (the process runs)")
                .value_parser(ENDPOINTS)
                .default_value("health"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .help("How long to wait for the response")
                .value_parser(value_parser!(u64).range(1..=300))
                .default_value("5"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let (settings, _) = config::load_health_check(matches, &Sources::of_process()).map_err(Failure::usage)?;
    let endpoint = matches.get_one::<String>("endpoint").map_or("health", String::as_str);
    let max_wait = Duration::from_secs(matches.get_one::<u64>("timeout").copied().unwrap_or(5));
    block_on(async {
        timeout(max_wait, request(&settings, endpoint))
            .await
            .unwrap_or_else(|_| {
                Err(anyhow!("health check failed: no answer within {} s", max_wait.as_secs()))
            })
            .map_err(Failure::Run)
    })
}

async fn request(settings: &HealthSettings, endpoint: &str) -> anyhow::Result<()> {
    let url = format!("http://{settings}/{endpoint}");
    let failed = || format!("health check failed: GET {url}");
    let stream = TcpStream::connect((settings.host.as_str(), settings.port)).await.with_context(failed)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(failed)?;
    tokio::spawn(connection);
    let request = Request::get(format!("/{endpoint}"))
        .header(http::header::HOST, settings.to_string())
        .body(Empty::<bytes::Bytes>::new())
        .with_context(failed)?;
    let status = sender.send_request(request).await.with_context(failed)?.status();
    if status != StatusCode::OK {
        bail!("health check returned status {}", status.as_u16());
    }
    Ok(())
}
