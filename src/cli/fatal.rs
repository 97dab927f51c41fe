//! The final report of a failed command.

use std::io::{self, Write};

use clap::ArgMatches;
use serde_json::Value;
use tracing::Level;

use crate::cli::failure::Failure;
use crate::cli::{demo, serve, sync};
use crate::config::{self, Sources};
use crate::telemetry::logs;
use crate::telemetry::settings::{LogFormat, LogSettings, LogTarget};

/// The log message of a failed command, and of a command stopped by a signal.
const FAILED: &str = "command failed";
const STOPPED: &str = "command stopped";
/// The message with the full reason, which is not a part of the log.
const REASON: &str = "reason of the failure";

/// Reports why a command failed, on stderr and in the log. If the log format is JSON, stderr gets one line of
/// JSON per error, even if the program fails before it logs. Otherwise stderr gets one line of text.
///
/// The log leaves out text that can be about a person. If there is any, stderr gets the full reason in a
/// further line, because it is the answer to the command.
pub(super) fn report(failure: &Failure, matches: &ArgMatches) {
    let report = Report::of(failure, matches);
    let done = match logs::in_force() {
        Some(log) => report.log(log),
        None if report.is_logged(matches) => {
            report.print_json(report.message);
            true
        }
        None => false,
    };
    if !done {
        report.print_text();
    }
}

struct Report {
    /// One entry per error, for the log.
    errors: Vec<String>,
    /// The same for stderr: with text that can be about a person.
    answer: Vec<String>,
    message: &'static str,
    exit_code: u8,
    /// The command that prints help, if help is useful.
    help: Option<String>,
}

impl Report {
    fn of(failure: &Failure, matches: &ArgMatches) -> Self {
        Self {
            errors: lines(&failure.message()),
            answer: lines(&failure.revealed()),
            message: if matches!(failure, Failure::Stopped { .. }) { STOPPED } else { FAILED },
            exit_code: failure.code(),
            help: matches!(failure, Failure::Usage(_)).then(|| format!("{} --help", names_of(matches))),
        }
    }

    /// Whether the command would log as JSON.
    fn is_logged(&self, matches: &ArgMatches) -> bool {
        let (name, matches) = matches.subcommand().unwrap_or((sync::NAME, matches));
        [serve::NAME, sync::NAME, demo::NAME].contains(&name)
            && config::log_format(matches, &Sources::of_process()) == LogFormat::Json
    }

    /// Logs the report, and returns whether stderr has received it as JSON. A log that is only shown on a
    /// terminal does not repeat the printed text.
    fn log(&self, log: &LogSettings) -> bool {
        if log.format == LogFormat::Console && log.paths == [LogTarget::Stderr] {
            return false;
        }
        for error in &self.errors {
            let (exit_code, help) = (self.exit_code, self.help.as_deref());
            tracing::error!(error, exit_code, help, "{}", self.message);
        }
        logs::flush();
        let is_on_stderr = log.format == LogFormat::Json && log.paths.contains(&LogTarget::Stderr);
        if is_on_stderr && self.answer != self.errors {
            self.print_json(REASON);
        }
        is_on_stderr
    }

    fn print_json(&self, message: &str) {
        for error in &self.answer {
            let mut fields: Vec<(&str, Value)> =
                vec![("error", error.as_str().into()), ("exit_code", self.exit_code.into())];
            fields.extend(self.help.as_deref().map(|help| ("help", help.into())));
            let line = logs::notice(LogFormat::Json, Level::ERROR, message, &fields);
            // A closed stderr cannot be reported.
            let _ = io::stderr().write_all(&line);
        }
    }

    fn print_text(&self) {
        let help = self.help.as_ref().map(|help| format!("; see `{help}`")).unwrap_or_default();
        for line in format!("{}{help}", self.answer.join("\n")).lines() {
            let _ = writeln!(io::stderr(), "baton-retool: {line}");
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The full name of the command: `baton-retool show grants`.
fn names_of(matches: &ArgMatches) -> String {
    let mut names = "baton-retool".to_owned();
    let mut at = matches;
    while let Some((name, inner)) = at.subcommand() {
        names = format!("{names} {name}");
        at = inner;
    }
    names
}
