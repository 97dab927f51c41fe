//! `baton-retool completion`: shell completion scripts.

use std::io::{self, Write};

use anyhow::Context;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches, Command};
use clap_complete::Shell;

use crate::cli::failure::Failure;

/// The name of the command.
pub(super) const NAME: &str = "completion";

const SHELL: &str = "shell";
const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "powershell"];

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Print the completion script for a shell")
        .long_about("Prints a script that lets a shell complete commands, flags and their values.")
        .after_help("Examples:\n  bash:        source <(baton-retool completion bash)\n  zsh:         source <(baton-retool completion zsh)\n  fish:        baton-retool completion fish | source\n  powershell:  baton-retool completion powershell | Out-String | Invoke-Expression")
        .arg(
            Arg::new(SHELL)
                .value_name("SHELL")
                .required(true)
                .value_parser(shells().try_map(|name| name.parse::<Shell>()))
                .hide_possible_values(true)
                .help("bash, zsh, fish or powershell"),
        )
        .arg(
            Arg::new("no-descriptions")
                .long("no-descriptions")
                .action(ArgAction::SetTrue)
                .help("Complete names without their descriptions"),
        )
}

/// The supported shells. `elvish` is also accepted, but hidden and not supported.
fn shells() -> PossibleValuesParser {
    let names = SHELLS.map(PossibleValue::new);
    PossibleValuesParser::new(names.into_iter().chain([PossibleValue::new("elvish").hide(true)]))
}

/// `whole` is the command line to complete.
pub(super) fn run(matches: &ArgMatches, whole: Command) -> Result<(), Failure> {
    let Some(&shell) = matches.get_one::<Shell>(SHELL) else { return Ok(()) };
    // The generators also print hidden values.
    let whole = whole.mut_subcommand(NAME, |own| own.mut_arg(SHELL, |shell| shell.value_parser(SHELLS)));
    let mut whole = if matches.get_flag("no-descriptions") { without_descriptions(whole) } else { whole };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole, "baton-retool", &mut script);
    script = match shell {
        Shell::Bash => repaired(script, BASH_FAULT, BASH_REPAIR),
        Shell::Fish => repaired(script, FISH_FAULT, FISH_REPAIR),
        _ => script,
    };
    let mut stdout = io::stdout();
    stdout
        .write_all(&script)
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")
        .map_err(Failure::Run)
}

/// If the program's name has a hyphen, the generator uses two names for the command, and the script would
/// complete commands but not their flags.
const BASH_FAULT: &str = "baton__subcmd__retool";
const BASH_REPAIR: &str = "baton__retool";

/// A flag whose value is being completed has no value yet, so its command line is invalid without its end.
const FISH_FAULT: &str = "-- $cmd 2>/dev/null
    or return
";
const FISH_REPAIR: &str = "-- $cmd 2>/dev/null
    or argparse -s (__fish_baton_retool_global_optspecs) -- $cmd[1..-2] 2>/dev/null
    or return
";

fn repaired(script: Vec<u8>, fault: &str, repair: &str) -> Vec<u8> {
    match String::from_utf8(script) {
        Ok(text) => text.replace(fault, repair).into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

fn without_descriptions(command: Command) -> Command {
    command
        .about("")
        .mut_args(|argument| argument.help("").long_help(""))
        .mut_subcommands(without_descriptions)
}
