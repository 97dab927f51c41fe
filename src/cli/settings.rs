//! `baton-retool settings`: the settings in force and their sources.

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::invalid;
use crate::cli::output::{output, wants_json};
use crate::cli::table::{Table, cell};
use crate::config::{self, InForce, Origin, Run, Shown, Sources};

/// The name of the command.
pub(super) const NAME: &str = "settings";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Print the effective settings and their sources, without secrets")
        .long_about("Prints every setting with its value and its source: a flag, a variable, a key of the configuration file, or the default. Secrets are not shown. Accepts the same flags as the other commands and connects to nothing. Reports all invalid settings at once, with exit code 2.")
        .after_help("Examples:\n  baton-retool settings\n  baton-retool settings --given\n  baton-retool settings --output json")
        .arg(
            Arg::new("given")
                .long("given")
                .action(ArgAction::SetTrue)
                .help("Omit the settings that have their default value"),
        )
        .arg(output("What to print: a table for people, or a JSON array for machines"))
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let (in_force, warnings, error) =
        config::load_in_force(matches, &Sources::of_process()).map_err(Failure::usage)?;
    let only_given = matches.get_flag("given");
    let is_shown = |setting: &&InForce| {
        let is_given = setting.origin != Origin::Default;
        is_given || (!only_given && config::is_listed(setting.name))
    };
    let shown = in_force.iter().filter(is_shown);
    let text = if wants_json(matches) {
        Value::Array(shown.map(as_json).collect()).to_string()
    } else {
        let rows = shown.map(|setting| {
            vec![setting.name.to_owned(), cell(&setting.value.to_string()), cell(&setting.origin.to_string())]
        });
        Table { columns: vec!["setting", "value", "from"], rows: rows.collect() }.as_text()
    };
    let mut stdout = io::stdout();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")
        .map_err(Failure::Run)?;
    for warning in warnings {
        // A closed stderr cannot be reported.
        let _ = writeln!(io::stderr(), "baton-retool: warning: {warning}");
    }
    let mut errors: Vec<String> = error.iter().map(ToString::to_string).collect();
    let unchecked = config::unchecked(Run::WithoutCommand, matches, &Sources::of_process());
    errors.extend(invalid::of_clients(&unchecked));
    if errors.is_empty() { Ok(()) } else { Err(Failure::Usage(anyhow!(errors.join("\n")))) }
}

fn as_json(setting: &InForce) -> Value {
    let value = match &setting.value {
        Shown::Unset | Shown::Secret | Shown::Withheld(_) => Value::Null,
        Shown::Text(text) => text.as_str().into(),
    };
    json!({
        "setting": setting.name,
        "value": value,
        "secret": matches!(setting.value, Shown::Secret | Shown::Withheld(_)),
        "from": setting.origin.to_string(),
    })
}
