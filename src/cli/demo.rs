//! `baton-retool demo`

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::{ArgMatches, Command};
use serde_json::json;
use tokio::sync::oneshot;
use tonic::transport::{self, Channel};

use crate::agent::sync::{Counts, Visitor, Walk, walk};
use crate::cli::failure::Failure;
use crate::cli::output::{output, wants_json};
use crate::cli::signals::{stop_requested, terminal_closed};
use crate::cli::wiring::{self, block_on, connector, serve_metrics};
use crate::config::Settings;
use crate::numbers::{count, duration};
use crate::server::{Endpoint, Security, Server};

/// The name of the command.
pub(super) const NAME: &str = "demo";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Serve, read everything once as an agent does, and print a summary")
        .long_about("Serves like `serve`, reads everything once over that port as an agent does, prints the counts of each resource type and grpcurl commands to explore it, and continues to serve until Ctrl-C. `make demo` runs it on a temporary database.")
        .after_help("Examples:\n  baton-retool demo\n  baton-retool demo --listen 127.0.0.1:0 --output json")
        .arg(output("What to print: a table for people, or one JSON object for machines, without waiting for Ctrl-C"))
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let json = wants_json(matches);
    wiring::settings(matches).and_then(|settings| block_on(demo(settings, json)))
}

async fn demo(settings: Settings, json: bool) -> Result<(), Failure> {
    if let Endpoint::Unix(_) = settings.server.listen {
        return Err(Failure::usage(anyhow::anyhow!("demo requires a port: set --listen host:port")));
    }
    let (asked, left) = (stop_requested(), terminal_closed());
    let mut stopped_by_person = std::pin::pin!(async {
        tokio::select! {
            () = asked => {}
            () = left => {}
        }
    });
    let connector = connector(&settings)?;
    let security = Security { insecure: settings.server.security.insecure, ..Security::DEFAULT };
    let listening = Server::new(connector).listen(&settings.server.listen, security).await?;
    serve_metrics(&settings).await.map_err(Failure::Run)?;
    let address = listening.address().to_owned();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(listening.serve(
        async {
            // A dropped sender has the same meaning as a message.
            let _ = stopped.await;
        },
        std::future::pending(),
    ));
    let shown = tokio::select! {
        shown = show(&address, json) => {
            if shown.is_ok() && !json {
                stopped_by_person.await;
            }
            shown
        }
        () = &mut stopped_by_person => Ok(()),
    };
    drop(stop);
    let served = serving.await.context("the server stopped unexpectedly").and_then(|served| Ok(served?));
    shown.and(served).map_err(Failure::Run)
}

async fn show(address: &str, json: bool) -> anyhow::Result<()> {
    let channel: Channel = transport::Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .connect()
        .await?;
    let progress = Progress { shown: std::io::stderr().is_terminal() };
    let (found, progress) = walk(channel, progress).await?;
    progress.clear();
    let text = if json { as_json(&found) } else { format!("{}{}", as_table(&found), hints(address)) };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot write to stdout")
}

/// Shows the progress of the walk on a terminal.
struct Progress {
    shown: bool,
}

impl Progress {
    fn clear(&self) {
        if self.shown {
            // Progress is optional, so an error of the terminal is ignored.
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Visitor for Progress {
    fn progress(&mut self, phase: &'static str, met: Counts) {
        if self.shown {
            let Counts { resources, entitlements, grants } = met;
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[Kreading {phase}: {} resources, {} entitlements, {} grants",
                count(resources),
                count(entitlements),
                count(grants)
            );
        }
    }
}

fn as_table(found: &Walk) -> String {
    let mut text = format!("{:<14}{:>12}{:>14}{:>12}\n", "type", "resources", "entitlements", "grants");
    let mut sum = Counts::default();
    for (resource_type, counts) in &found.types {
        counts_line(&mut text, &resource_type.id, *counts);
        sum.resources += counts.resources;
        sum.entitlements += counts.entitlements;
        sum.grants += counts.grants;
    }
    counts_line(&mut text, "all", sum);
    text.push_str(&format!("\n{} calls in {}\n", count(found.calls), duration(found.elapsed)));
    text
}

fn counts_line(text: &mut String, id: &str, counts: Counts) {
    let [resources, entitlements, grants] = [counts.resources, counts.entitlements, counts.grants].map(count);
    text.push_str(&format!("{id:<14}{resources:>12}{entitlements:>14}{grants:>12}\n"));
}

fn as_json(found: &Walk) -> String {
    let types: Vec<_> = found
        .types
        .iter()
        .map(|(resource_type, counts)| {
            json!({
                "type": resource_type.id,
                "resources": counts.resources,
                "entitlements": counts.entitlements,
                "grants": counts.grants,
            })
        })
        .collect();
    json!({ "types": types, "calls": found.calls, "seconds": found.elapsed.as_secs_f64() }).to_string()
}

fn hints(address: &str) -> String {
    format!(
        r#"
Serving on {address} until Ctrl-C. Look around with grpcurl:

  grpcurl -plaintext {address} list
  grpcurl -plaintext {address} c1.connector.v2.ConnectorService/Validate
  grpcurl -plaintext {address} c1.connector.v2.ResourceTypesService/ListResourceTypes
  grpcurl -plaintext -d '{{"resource_type_id": "user", "parent_resource_id": {{"resource_type": "org", "resource": "o1"}}, "page_size": 2}}' {address} c1.connector.v2.ResourcesService/ListResources
  grpcurl -plaintext -d '{{"resource": {{"id": {{"resource_type": "page", "resource": "p1"}}}}}}' {address} c1.connector.v2.GrantsService/ListGrants
  grpcurl -plaintext {address} grpc.health.v1.Health/Check
"#
    )
}
