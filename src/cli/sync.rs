//! `baton-retool` and `baton-retool sync`: a one-shot sync into a c1z file.

mod progress;
mod report;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use clap::{Arg, ArgMatches, Command};
use tokio_util::sync::CancellationToken;

use crate::agent::c1z::{self, DecodeLimits, Saved, Store, StoreOptions};
use crate::agent::sync::{Error, Kind, Outcome, Source, SyncSettings, Syncer, Usage};
use crate::cli::failure::Failure;
use crate::cli::in_memory;
use crate::cli::output::{output, wants_json};
use crate::cli::signals::{StopSignals, StoppedBy, handle_other_signals};
use crate::cli::sync::progress::Progress;
use crate::cli::sync::report::Closing;
use crate::cli::wiring::{block_on, connection, connector_to, serve_metrics, settings_with};
use crate::config::{self, Settings, Sources};
use crate::postgres::connection_string::ConnectionSettings;
use crate::proto;
use crate::server::Server;
use crate::telemetry::logs;
use crate::telemetry::settings::LogLevel;

/// The name of the command.
pub(super) const NAME: &str = "sync";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Read everything from Retool into a c1z file, which baton and `show` read")
        .long_about("Reads who has access to what from Retool's database into a c1z file. The program does the same without a command and without --client-id. The file is replaced as a whole when the sync is complete; Ctrl-C or SIGTERM keeps the data read so far as an unfinished sync, which the next run with the same settings continues.")
        .after_help("Examples:\n  baton-retool sync --file retool.c1z\n  baton-retool sync --sync-resource-types org,user,group --output json\n\nExit codes: 0 done, 1 failed, 2 invalid command line or settings, 130 stopped by Ctrl-C, 143 stopped by SIGTERM.")
        .arg(output_argument())
}

/// The format of the report.
pub(super) fn output_argument() -> Arg {
    output("What to print at the end: a table for people, or one JSON object for machines")
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let sync = sync_settings(matches)?;
    read_and_write(matches, sync)
}

fn read_and_write(matches: &ArgMatches, sync: SyncSettings) -> Result<(), Failure> {
    let settings = settings(matches)?;
    sync.check_paths().map_err(Failure::usage)?;
    if sync.skip_full_sync {
        tracing::warn!("--skip-full-sync has no effect on a one-shot sync: everything is read");
    }
    block_on(one_shot(settings, sync, wants_json(matches)))
}

/// Only the settings of the sync. Its warnings are also warnings of all settings, and are logged there.
pub(super) fn sync_settings(matches: &ArgMatches) -> Result<SyncSettings, Failure> {
    let sources = Sources::of_process();
    config::check_unused(matches, &sources).map_err(Failure::usage)?;
    config::load_sync(matches, &sources).map(|(sync, _)| sync).map_err(Failure::usage)
}

/// The settings of a run at a terminal or in a script. At a terminal, less is logged.
pub(super) fn settings(matches: &ArgMatches) -> Result<Settings, Failure> {
    // Log lines would interrupt the progress lines.
    let quiet = io::stderr().is_terminal()
        && matches.value_source("log-level").is_none()
        && Sources::of_process().variable("BATON_LOG_LEVEL").is_none();
    settings_with(matches, |logs| {
        if quiet && logs.level == LogLevel::Info {
            logs.level = LogLevel::Warn;
        }
    })
}

async fn one_shot(settings: Settings, mut sync: SyncSettings, json: bool) -> Result<(), Failure> {
    // Watches from the start, so that a signal before the sync begins counts.
    let mut signals = StopSignals::watch();
    handle_other_signals();
    let connection = connection(&settings)?;
    sync.options.source = source(&connection, &settings);
    let connector = connector_to(connection, &settings).map(Arc::new)?;
    // This starts while the file is opened; otherwise the first call would wait for it.
    tokio::task::spawn_blocking(proto::warm_up);
    serve_metrics(&settings).await.map_err(Failure::Run)?;
    let server = Server::new(connector).with_limits(settings.server.limits);
    let channel = in_memory::connect(server).await.map_err(Failure::Run)?;
    let stop = CancellationToken::new();
    let syncer = Syncer::new(channel, sync.options.clone()).stopped_by(stop.clone());
    let progress = Progress::of(syncer.meter());
    let mut stopped = None;
    let kind = sync.options.kind();
    let mut running = std::pin::pin!(async move {
        // Unpacking a large file takes a while, so signals are handled meanwhile.
        let store = open(&sync).await?;
        let (outcome, store) = syncer.run(store).await;
        let (since, before) = (Instant::now(), Usage::now());
        let saved = match store {
            // After a storage error the new file is incomplete, so the old file is kept.
            Some(_) if matches!(outcome, Err(Error::Storage(_))) => Ok(Ok(None)),
            // This is the longest part after the listing: it writes and compresses the whole file.
            Some(store) => tokio::task::spawn_blocking(move || store.close()).await,
            None => Ok(Ok(None)),
        };
        let after = Usage::now();
        let closing = Closing {
            elapsed: since.elapsed(),
            cpu: after.cpu.saturating_sub(before.cpu),
            peak_memory: after.peak_memory,
        };
        anyhow::Ok((outcome, saved, closing))
    });
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            name = signals.next() => {
                let by = StoppedBy::named(name);
                if stopped.replace(by).is_some() {
                    logs::flush();
                    std::process::exit(by.exit_code().into());
                }
                stop.cancel();
            }
        }
    };
    progress.end();
    let (outcome, saved, closing) = ended.map_err(Failure::Run)?;
    let saved = saved.context("writing the file ended unexpectedly").map_err(Failure::Run)?;
    match (outcome, saved) {
        (Err(Error::Stopped), Ok(saved)) => {
            let by = stopped.unwrap_or(StoppedBy::Terminate);
            Err(interrupted(by, saved.as_ref(), kind))
        }
        (outcome, saved) => print_report(outcome, saved, &closing, json),
    }
}

/// Everything that decides which rows the connector returns.
fn source(connection: &ConnectionSettings, settings: &Settings) -> Source {
    let (scope, options) = (settings.scope, settings.options);
    Source::of(&format!(
        "{} {scope:?} skip_disabled_users: {}",
        connection.source(),
        options.skip_disabled_users
    ))
}

/// The end of a sync that a signal stopped.
fn interrupted(by: StoppedBy, saved: Option<&Saved>, kind: Kind) -> Failure {
    let kept = saved.map(|saved| {
        let file = saved.path.display();
        let next = match kind {
            Kind::Full | Kind::ResourcesOnly => "which the next run with the same settings continues",
            Kind::Partial => "which is not continued: a sync with --sync-resources starts from the beginning",
        };
        format!(": {file} holds an unfinished sync, {next}")
    });
    Failure::Stopped { message: anyhow!("stopped{}", kept.unwrap_or_default()), code: by.exit_code() }
}

fn print_report(
    outcome: Result<Outcome, Error>,
    saved: Result<Option<Saved>, c1z::Error>,
    closing: &Closing,
    json: bool,
) -> Result<(), Failure> {
    match (outcome, saved) {
        (Ok(outcome), Ok(Some(saved))) => {
            let text = if json {
                report::as_json(&outcome, &saved, closing)
            } else {
                report::as_table(&outcome, &saved, closing)
            };
            let mut stdout = io::stdout();
            writeln!(stdout, "{text}")
                .and_then(|()| stdout.flush())
                .context("cannot write to stdout")
                .map_err(Failure::Run)
        }
        (Ok(_), Ok(None)) => Err(Failure::Run(anyhow!("the sync produced nothing to write"))),
        (Ok(_) | Err(Error::Stopped), Err(error)) => Err(Failure::run(error)),
        (Err(error), Ok(_)) => Err(Failure::run(error)),
        (Err(error), Err(unsaved)) => Err(Failure::run(Lost { error, unsaved })),
    }
}

/// A sync failed, and its file could not be written either.
#[derive(Debug, thiserror::Error)]
#[error("{error}; the data read so far is also lost: {unsaved}")]
struct Lost {
    error: Error,
    unsaved: c1z::Error,
}

async fn open(sync: &SyncSettings) -> anyhow::Result<Store> {
    let options = StoreOptions {
        temp_dir: sync.temp_dir.clone(),
        keep_syncs: sync.keep_syncs,
        skip_cleanup: sync.skip_cleanup,
        limits: DecodeLimits::from_environment(),
        ..StoreOptions::new(&sync.file)
    };
    Ok(tokio::task::spawn_blocking(move || Store::open(&options))
        .await
        .context("opening the file ended unexpectedly")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_sync_says_whether_the_next_run_continues_it() {
        let saved = Saved { path: "sync.c1z".into(), bytes: 1, grants: 0 };
        let message = |saved, kind| match interrupted(StoppedBy::Terminate, saved, kind) {
            Failure::Stopped { message, code: 143 } => message.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(
            message(Some(&saved), Kind::Full),
            "stopped: sync.c1z holds an unfinished sync, which the next run with the same settings continues"
        );
        assert!(message(Some(&saved), Kind::Partial).contains("which is not continued"));
        assert_eq!(message(None, Kind::Full), "stopped");
    }
}
