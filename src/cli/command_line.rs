//! The command line of the program: its settings and its commands.

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

use crate::cli::{child, demo, doctor, health_check, serve, setup_sql, show, sync};
use crate::config;

/// The command line. Settings are accepted before and after the name of a command.
pub(crate) fn command() -> Command {
    let command = Command::new("baton-retool")
        .version(concat!("version ", env!("CARGO_PKG_VERSION")))
        .about("Baton connector for self-hosted Retool: tells a baton agent who has access to what, straight from Retool's Postgres database.")
        .after_help("Every setting can also be given as a BATON_ variable or in a configuration file: ./.baton.yaml, or the file that BATON_CONFIG_PATH names. A flag beats a variable, a variable beats the file.\n\nExit codes: 0 done, 1 failed, 2 a command line or setting that cannot be right. `doctor` has its own: see `doctor --help`.")
        .disable_version_flag(true)
        .arg(Arg::new("version").short('v').long("version").help("Print version").action(ArgAction::Version))
        .args(config::arguments())
        .arg(sync::output_argument())
        .subcommand(serve::command())
        .subcommand(sync::command())
        .subcommand(show::command())
        .subcommand(health_check::command())
        .subcommand(setup_sql::command())
        .subcommand(doctor::command())
        .subcommand(child::command())
        .subcommand(demo::command());
    #[cfg(feature = "lambda")]
    let command = command.subcommand(crate::cli::lambda::command());
    command
}

/// The error without what may be a secret, such as a connection string that was given without its flag: only what
/// looks like the name of a flag or a command is repeated.
pub(crate) fn without_secrets(mut error: clap::Error) -> clap::Error {
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        let given = match error.get(kind) {
            Some(ContextValue::String(given)) => given.clone(),
            _ => continue,
        };
        if !is_name(&given) {
            error.insert(kind, ContextValue::String("...".to_owned()));
            // These repeat it with advice.
            error.remove(ContextKind::Suggested);
            error.remove(ContextKind::Usage);
        }
    }
    error
}

/// A flag with what clap says of its value, such as `--listen <ADDRESS>`, or a word.
fn is_name(given: &str) -> bool {
    let name = given.trim_start_matches('-').split(' ').next().unwrap_or_default();
    name.len() <= 50 && name.chars().all(|letter| letter.is_ascii_lowercase() || matches!(letter, '-' | '_'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        for arguments in [
            &["postgres://u:hunter2@h/db"][..],
            &["serve", "postgres://u:hunter2@h/db"],
            &["serve", "--", "postgres://u:hunter2@h/db"],
            &["serve", "--connection-strin=postgres://u:hunter2@h/db"],
            &["serve", "hunter2"],
            &["health-check", "--endpoint=hunter2"],
            &["health-check", "--timeout=hunter2"],
            &["show", "-phunter2"],
            &["doctor", "--output-format=hunter2"],
        ] {
            let error = command().try_get_matches_from(["baton-retool"].iter().chain(arguments)).unwrap_err();
            let text = without_secrets(error).to_string();
            assert!(!text.contains("hunter2"), "{arguments:?}: {text}");
        }
    }

    #[test]
    fn a_slip_is_named() {
        let error = command().try_get_matches_from(["baton-retool", "srve"]).unwrap_err();
        assert!(without_secrets(error).to_string().contains("srve"));
        let error = command().try_get_matches_from(["baton-retool", "serve", "--lissen=h:1"]).unwrap_err();
        assert!(without_secrets(error).to_string().contains("--lissen"));
    }
}
