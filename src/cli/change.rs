//! `baton-retool` with a flag that requests one change or one query, such as `--grant-entitlement`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::ArgMatches;
use serde_json::Value;
use tokio::time::sleep;
use tonic::Code;

use crate::agent::c1z::{DecodeLimits, Reader};
use crate::agent::one_shot::{self, Answer, IdForms, Lookup, OneShot, OneShotError, Outcome};
use crate::agent::sync::SyncSettings;
use crate::cli::failure::Failure;
use crate::cli::output::wants_json;
use crate::cli::signals::{StopSignals, StoppedBy, handle_other_signals};
use crate::cli::table::cell;
use crate::cli::wiring::{block_on, connector, serve_metrics};
use crate::cli::{in_memory, sync};
use crate::config::Settings;
use crate::connector::Connector;
use crate::connector::ids::{parts_of_grant, resource_of_entitlement};
use crate::server::Server;

/// The end of the message about a change that was in progress.
const IN_DOUBT: &str = " while the change was in progress, so its outcome is unknown: run the same command again with --dry-run to see whether anything is left to change";

/// The forms of the ids of this program's own connector.
const IDS: IdForms = IdForms { resource_of_entitlement, parts_of_grant };

/// A change was refused because changes are off.
#[derive(Debug, thiserror::Error)]
#[error("{0}: add --provisioning to allow changes")]
struct ChangesAreOff(OneShotError);

/// Makes the change or answers the query. Returns success only if everything was done.
pub(super) fn run(matches: &ArgMatches, asked: OneShot) -> Result<(), Failure> {
    let sync = sync::sync_settings(matches)?;
    let mut settings = sync::settings(matches)?;
    sync.check_paths().map_err(Failure::usage)?;
    if asked.is_about_tickets() {
        settings.options.ticketing = true;
    }
    block_on(change(settings, sync, asked, wants_json(matches)))
}

async fn change(settings: Settings, sync: SyncSettings, asked: OneShot, json: bool) -> Result<(), Failure> {
    // Watches from the start, so that a signal before the change begins counts.
    let mut signals = StopSignals::watch();
    handle_other_signals();
    let grace = settings.server.limits.grace;
    let is_a_query = asked.is_a_query();
    let connector = connector(&settings)?;
    serve_metrics(&settings).await.map_err(Failure::Run)?;
    let mut running = std::pin::pin!(perform(&settings, &sync, asked, Arc::clone(&connector)));
    let by = tokio::select! {
        ended = &mut running => return ended.and_then(|answer| print(&answer, json)),
        name = signals.next() => StoppedBy::named(name),
    };
    if !is_a_query {
        tracing::warn!(
            grace_seconds = grace.as_secs(),
            "received {}: waiting for the change to end; another signal stops it immediately",
            by.name()
        );
        tokio::select! {
            ended = running => return ended.and_then(|answer| print(&answer, json)),
            _ = signals.next() => {}
            () = sleep(grace) => {}
        }
    }
    let what = if connector.interrupt_changes() { IN_DOUBT } else { "; nothing was changed" };
    Err(Failure::Stopped { message: anyhow!("stopped by {}{what}", by.name()), code: by.exit_code() })
}

/// Performs the operation on the connector, in this process.
async fn perform(
    settings: &Settings,
    sync: &SyncSettings,
    asked: OneShot,
    connector: Arc<Connector>,
) -> Result<Answer, Failure> {
    let changes_are_off = !settings.scope.provisioning;
    let file = match asked {
        OneShot::Grant { .. } | OneShot::Revoke { .. } if sync.file_is_given => Some(open(sync)?),
        _ => None,
    };
    let server = Server::new(connector).with_limits(settings.server.limits);
    let channel = in_memory::connect(server).await.map_err(Failure::Run)?;
    let lookup = match &file {
        Some(reader) => Lookup::File(reader, &sync.file),
        None => Lookup::Connector(&channel, IDS),
    };
    one_shot::run(asked, &lookup, &channel).await.map_err(|error| {
        if changes_are_off && error.code() == Some(Code::FailedPrecondition) {
            return Failure::run(ChangesAreOff(error));
        }
        refused(error)
    })
}

fn print(answer: &Answer, json: bool) -> Result<(), Failure> {
    let text = if json { answer.as_json().to_string() } else { as_text(answer).map_err(Failure::Run)? };
    let mut stdout = io::stdout();
    let written = match answer.operation {
        // One event per line for every output, because a reader processes events one by one.
        "event_feed" => items(answer, "events").try_for_each(|event| writeln!(stdout, "{event}")),
        _ => writeln!(stdout, "{text}"),
    };
    written.and_then(|()| stdout.flush()).context("cannot write to stdout").map_err(Failure::Run)
}

fn open(sync: &SyncSettings) -> Result<Reader, Failure> {
    let reader = Reader::open(&sync.file, sync.temp_dir.as_deref(), DecodeLimits::from_environment())
        .map_err(Failure::run)?;
    reader.run().map_err(Failure::run)?;
    Ok(reader)
}

/// An invalid value is an error of the command line; any other error is not.
fn refused(error: OneShotError) -> Failure {
    match error {
        OneShotError::Value { .. } | OneShotError::Template { .. } => Failure::usage(error),
        error => Failure::run(error),
    }
}

fn as_text(answer: &Answer) -> anyhow::Result<String> {
    let about = |name: &str| {
        let found = answer.about.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| cell(value)).unwrap_or_default()
    };
    if let Outcome::DryRun(would) = &answer.outcome {
        return Ok(format!("dry run: would {}", cell(would)));
    }
    let changed = answer.outcome == Outcome::Changed;
    Ok(match answer.operation {
        "grant" => {
            let (entitlement, principal) = (about("entitlement"), about("principal"));
            if changed {
                format!("granted {entitlement} to {principal}")
            } else {
                format!("nothing to do: {principal} already has {entitlement}")
            }
        }
        "revoke" if changed => {
            let remaining = match about("access_remains").as_str() {
                "" => String::new(),
                level => format!("; the principal still has {level} access from other sources"),
            };
            format!("revoked {}{remaining}", about("grant"))
        }
        "revoke" => format!("nothing to do: grant {} does not exist", about("grant")),
        "create_account" if changed => format!("created the account {}", about("account")),
        "create_account" => format!("nothing to do: the account already exists: {}", about("account")),
        "invoke_action" if changed => format!("{}: complete", about("action")),
        "invoke_action" => format!("nothing to do: {} changed nothing", about("action")),
        "list_action_schemas" => actions(answer),
        _ => serde_json::to_string_pretty(&answer.response)?,
    })
}

/// Each action with its arguments, one per line.
fn actions(answer: &Answer) -> String {
    let mut text = String::new();
    for schema in items(answer, "schemas") {
        let field = |value: &Value, name: &str| cell(value[name].as_str().unwrap_or_default());
        let arguments: Vec<String> = schema["arguments"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|argument| field(argument, "name"))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} ({}): {}",
            field(schema, "name"),
            arguments.join(", "),
            field(schema, "description")
        );
    }
    if text.is_empty() { "no actions".to_owned() } else { text.trim_end().to_owned() }
}

fn items<'a>(answer: &'a Answer, name: &str) -> impl Iterator<Item = &'a Value> {
    answer.response[name].as_array().into_iter().flatten()
}
