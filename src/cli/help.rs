//! The settings in the help of each command, and the text of command line errors.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

#[cfg(feature = "lambda")]
use crate::cli::lambda;
use crate::cli::{child, demo, doctor, documents, health_check, serve, settings, show, sync};
use crate::config::{Detail, Group};

/// The flag that prints help with every setting.
const HELP_ALL: &str = "help-all";

/// The most important settings of a run without a command.
pub(super) const OF_THE_PROGRAM: &[&str] = &[
    "connection-string",
    "file",
    "provisioning",
    "dry-run",
    "retool-api-base-url",
    "retool-api-token",
    "client-id",
    "client-secret",
    "log-level",
    "health-check",
];

/// The groups that a run without a command uses: all of them.
pub(super) const EVERY_GROUP: &[Group] = &[
    Group::Connector,
    Group::Run,
    Group::Service,
    Group::Sync,
    Group::Change,
    Group::Server,
    Group::Limits,
    Group::Database,
    Group::Health,
    Group::Logs,
    Group::Telemetry,
];

/// The most important settings of each command, and the groups that it uses. Commands that are missing here
/// use none.
const OF_COMMANDS: &[(&str, &[&str], &[Group])] = &[
    (
        serve::NAME,
        &[
            "connection-string",
            "listen",
            "tls-cert",
            "tls-key",
            "auth-token-file",
            "provisioning",
            "dry-run",
            "retool-api-base-url",
            "retool-api-token",
            "log-level",
        ],
        &[
            Group::Connector,
            Group::Run,
            Group::Server,
            Group::Limits,
            Group::Database,
            Group::Health,
            Group::Logs,
            Group::Telemetry,
        ],
    ),
    (
        sync::NAME,
        &[
            "connection-string",
            "file",
            "sync-resource-types",
            "sync-resources",
            "skip-pages",
            "skip-resources",
            "skip-disabled-users",
            "workers",
            "log-level",
        ],
        &[Group::Connector, Group::Sync, Group::Database, Group::Logs, Group::Telemetry],
    ),
    (show::NAME, &["file", "c1z-temp-dir"], &[]),
    (health_check::NAME, &["health-check-bind-address", "health-check-port"], &[]),
    (
        doctor::NAME,
        &[
            "connection-string",
            "provisioning",
            "retool-api-base-url",
            "retool-api-token",
            "client-id",
            "client-secret",
        ],
        &[
            Group::Connector,
            Group::Run,
            Group::Service,
            Group::Server,
            Group::Database,
            Group::Logs,
            Group::Telemetry,
        ],
    ),
    (
        demo::NAME,
        &["connection-string", "listen", "provisioning"],
        &[
            Group::Connector,
            Group::Run,
            Group::Server,
            Group::Limits,
            Group::Database,
            Group::Logs,
            Group::Telemetry,
        ],
    ),
    #[cfg(feature = "lambda")]
    (
        lambda::NAME,
        &["connection-string", "log-level", "log-level-debug-expires-at"],
        &[Group::Connector, Group::Run, Group::Limits, Group::Database, Group::Logs, Group::Telemetry],
    ),
    (documents::CAPABILITIES, &["skip-pages", "skip-resources"], &[]),
    (settings::NAME, &[], EVERY_GROUP),
];

/// The most important settings of a command, and the groups that it uses.
pub(super) fn of_command(name: &str) -> (&'static [&'static str], &'static [Group]) {
    let found = OF_COMMANDS.iter().find(|(command, ..)| *command == name);
    found.map_or((&[], &[]), |(_, usual, groups)| (usual, groups))
}

/// The flag `--help-all`, which [`detail`] processes.
pub(super) fn argument() -> Arg {
    Arg::new(HELP_ALL)
        .long(HELP_ALL)
        .global(true)
        .action(ArgAction::SetTrue)
        .display_order(1000)
        .help("Print help with every setting")
}

/// The requested detail of help, and the arguments with `--help` instead of `--help-all`.
pub(super) fn detail(mut arguments: Vec<OsString>) -> (Detail, Vec<OsString>) {
    let flag = format!("--{HELP_ALL}");
    let found = arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .position(|argument| argument.to_str() == Some(&flag));
    match found {
        Some(place) => {
            if let Some(argument) = arguments.get_mut(place) {
                *argument = "--help".into();
            }
            (Detail::Everything, arguments)
        }
        None => (Detail::Usual, arguments),
    }
}

/// The full name of the command in the arguments: `baton-retool show grants`.
pub(super) fn path_of(command: &Command, arguments: &[OsString]) -> String {
    let mut path = command.get_name().to_owned();
    let mut at = command;
    for argument in arguments.iter().skip(1).filter_map(|argument| argument.to_str()) {
        if let Some(next) = at.get_subcommands().find(|next| next.get_name() == argument) {
            path = format!("{path} {argument}");
            at = next;
        }
    }
    path
}

/// The text of a command line error, with the full command that prints help. It contains styles, which the
/// output stream removes if they are not wanted.
pub(super) fn error_text(error: &clap::Error, path: &str) -> String {
    let text = error.render().ansi().to_string();
    match text.rsplit_once("--help") {
        Some((before, after)) if error.use_stderr() => format!("{before}{path} --help{after}"),
        _ => text,
    }
}

/// Removes text that may be a secret from the error, such as a connection string without its flag. Only text
/// that looks like the name of a flag or a command is kept.
pub(super) fn without_secrets(mut error: clap::Error) -> clap::Error {
    hide_child(&mut error);
    // Here, the argument is one of this program's own.
    let names_own_argument = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if kind == ContextKind::InvalidArg && names_own_argument {
            continue;
        }
        let given = match error.get(kind) {
            Some(ContextValue::String(given)) => given.clone(),
            _ => continue,
        };
        // A word without a flag is shown only if it is probably a misspelled name: a password can be a word
        // as well.
        let is_word = !given.starts_with('-') && !names_own_argument;
        if !is_name(&given) || is_word && !has_suggestion(&error) {
            error.insert(kind, ContextValue::String("...".to_owned()));
            // These also contain the text.
            error.remove(ContextKind::Suggested);
            error.remove(ContextKind::Usage);
        }
    }
    error
}

/// Removes the command that only agents start from the suggestions.
fn hide_child(error: &mut clap::Error) {
    let kind = ContextKind::SuggestedSubcommand;
    let Some(ContextValue::Strings(names)) = error.get(kind) else { return };
    let shown: Vec<String> = names.iter().filter(|name| *name != child::NAME).cloned().collect();
    error.remove(kind);
    if !shown.is_empty() {
        error.insert(kind, ContextValue::Strings(shown));
    }
}

/// Whether clap knows a similar name.
fn has_suggestion(error: &clap::Error) -> bool {
    [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .any(|kind| match error.get(kind) {
            Some(ContextValue::Strings(names)) => !names.is_empty(),
            Some(ContextValue::String(name)) => !name.is_empty(),
            _ => false,
        })
}

/// A flag with clap's placeholder for its value, such as `--listen <ADDRESS>`, or a name.
fn is_name(given: &str) -> bool {
    let name = given.trim_start_matches('-').split(' ').next().unwrap_or_default();
    let is_letter = name.len() == 1 && name.chars().all(|letter| letter.is_ascii_alphabetic());
    is_letter
        || name.len() <= 50
            && name.chars().all(|letter| letter.is_ascii_lowercase() || matches!(letter, '-' | '_'))
}
