//! `baton-retool settings`: the settings in force and their sources.

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use crate::agent::service::{ClientId, ClientKey};
use crate::cli::failure::Failure;
use crate::cli::output::{output, wants_json};
use crate::cli::table::{Table, cell};
use crate::cli::wiring;
use crate::config::{self, InForce, Origin, Shown, Sources};

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
    errors.extend(errors_at_start(matches));
    if errors.is_empty() { Ok(()) } else { Err(Failure::Usage(anyhow!(errors.join("\n")))) }
}

/// The settings that are read only when a connection is prepared: the connection string and the client
/// credentials of ConductorOne. Those that are missing or incomplete are reported before.
fn errors_at_start(matches: &ArgMatches) -> Vec<String> {
    let sources = Sources::of_process();
    let connection = config::load(matches, &sources)
        .ok()
        .and_then(|(settings, _)| wiring::connection(&settings).err().map(|failure| failure.message()));
    let service = config::load_service(matches, &sources).ok().flatten();
    let client = service.as_ref().and_then(|service| ClientId::parse(&service.client_id).err());
    let secret = service.as_ref().and_then(|service| ClientKey::parse(&service.client_secret).err());
    let client = [client, secret].into_iter().flatten().map(|error| error.to_string());
    connection.into_iter().chain(client).collect()
}

fn as_json(setting: &InForce) -> Value {
    let value = match &setting.value {
        Shown::Unset | Shown::Secret => Value::Null,
        Shown::Text(text) => text.as_str().into(),
    };
    json!({
        "setting": setting.name,
        "value": value,
        "secret": setting.value == Shown::Secret,
        "from": setting.origin.to_string(),
    })
}
