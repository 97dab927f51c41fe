//! The command line of the program: its settings and its commands.

use clap::{Arg, ArgAction, Command};

use crate::cli::{child, demo, doctor, health_check, serve, setup_sql, show, sync};
use crate::config;

/// The command line. Settings are accepted before and after the name of a command.
pub(crate) fn command() -> Command {
    Command::new("baton-retool")
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
        .subcommand(demo::command())
}
