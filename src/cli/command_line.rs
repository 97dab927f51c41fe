//! The command line of the program: its settings and its commands.

use clap::{Arg, ArgAction, Command};

use crate::cli::{
    child, completion, demo, doctor, documents, health_check, help, man, serve, settings, setup_sql, show,
    sync, version,
};
use crate::config::{self, Detail};

const EXAMPLES: &str = "\
Examples:
  # Read who has access to what into sync.c1z, and look at it
  baton-retool --connection-string \"host=db dbname=hammerhead_production user=baton\"
  baton-retool show access ada@example.com

  # Diagnose problems
  baton-retool doctor

  # Make one change
  baton-retool -p --grant-entitlement group:g7:member --grant-principal u5 --grant-principal-type user

Every setting is a flag (--log-level), a variable (BATON_LOG_LEVEL) and a key (log-level) of ./.baton.yaml or of the file that BATON_CONFIG_PATH names. A flag overrides a variable, and a variable overrides the file.

Exit codes: 0 done, 1 failed, 2 invalid command line or settings, 130 or 143 if Ctrl-C or SIGTERM stopped a sync or a change.";

/// The command line. Settings are accepted before and after the name of a command.
pub(crate) fn command(detail: Detail) -> Command {
    let commands = [
        sync::command(),
        show::command(),
        serve::command(),
        doctor::command(),
        settings::command(),
        health_check::command(),
        setup_sql::command(detail),
        documents::capabilities_command(),
        documents::config_command(),
        completion::command(),
        man::command(),
        version::command(),
        demo::command(),
    ];
    // Agents start it, so completions and manual pages leave it out.
    let child = (detail != Detail::Documented).then(child::command);
    let commands = commands.into_iter().chain(child);
    let command = Command::new("baton-retool")
        .version(version::SHORT)
        .long_version(version::long())
        .about("Baton connector for self-hosted Retool: reads and changes who has access to what")
        .long_about("Baton connector for self-hosted Retool. Without a command it reads who has access to what from Retool's Postgres database into a c1z file; with --client-id it runs ConductorOne's tasks until it is stopped; with a flag such as --grant-entitlement it makes one change. --help-all lists these flags.")
        .after_help(EXAMPLES)
        .disable_version_flag(true)
        .arg(Arg::new("version").short('v').long("version").help("Print version").action(ArgAction::Version))
        .arg(help::argument())
        .args(of_the_program(detail))
        .arg(sync::output_argument())
        .subcommands(commands.map(|command| with_settings(command, detail)));
    #[cfg(feature = "lambda")]
    let command = command.subcommand(with_settings(crate::cli::lambda::command(), detail));
    command
}

/// The settings as global flags, which every command accepts.
fn of_the_program(detail: Detail) -> impl Iterator<Item = Arg> {
    let arguments = config::arguments_for(help::OF_THE_PROGRAM, help::EVERY_GROUP, detail);
    // The documentation of a command contains only its own settings.
    arguments.into_iter().map(move |argument| argument.global(detail != Detail::Documented))
}

/// Adds the settings that the help of the command shows. A command that adds its own settings is unchanged.
fn with_settings(command: Command, detail: Detail) -> Command {
    if command.get_name() == setup_sql::NAME {
        return command;
    }
    let (usual, groups) = help::of_command(command.get_name());
    command.args(config::arguments_for(usual, groups, detail))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::help::without_secrets;

    #[test]
    fn errors_do_not_show_possible_secrets() {
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
            let error = command(Detail::Usual)
                .try_get_matches_from(["baton-retool"].iter().chain(arguments))
                .unwrap_err();
            let text = without_secrets(error).to_string();
            assert!(!text.contains("hunter2"), "{arguments:?}: {text}");
        }
    }

    #[test]
    fn errors_name_a_misspelled_command_or_flag() {
        let error = command(Detail::Usual).try_get_matches_from(["baton-retool", "srve"]).unwrap_err();
        assert!(without_secrets(error).to_string().contains("srve"));
        let error = command(Detail::Usual)
            .try_get_matches_from(["baton-retool", "serve", "--lissen=h:1"])
            .unwrap_err();
        assert!(without_secrets(error).to_string().contains("--lissen"));
    }
}
