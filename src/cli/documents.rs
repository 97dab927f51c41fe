//! `baton-retool capabilities` and `baton-retool config`: documents that ConductorOne's tools read when a
//! version is released.

use std::io::{self, Write};

use anyhow::Context;
use clap::{ArgMatches, Command};
use serde_json::Value;

use crate::cli::failure::Failure;
use crate::config::{self, Sources};
use crate::connector::capabilities_of;
use crate::proto::{any, json, json_of_any};

/// The name of the command that prints the capabilities of the connector.
pub(super) const CAPABILITIES: &str = "capabilities";

/// The name of the command that prints the configuration form.
pub(super) const CONFIG: &str = "config";

pub(super) fn capabilities_command() -> Command {
    Command::new(CAPABILITIES)
        .about("Print the capabilities of the connector, as JSON")
        .long_about("Prints the capabilities of the connector by resource type as JSON, as in its metadata. Connects to nothing; only --skip-pages and --skip-resources change the output.")
        .after_help("Examples:\n  baton-retool capabilities\n  baton-retool capabilities --skip-resources > baton_capabilities.json")
}

pub(super) fn config_command() -> Command {
    Command::new(CONFIG)
        .about("Print the configuration schema, as JSON")
        .long_about("Prints the settings that ConductorOne can fill in, with their types, defaults and rules, as JSON. Reads no settings. `baton-retool settings` prints the effective settings.")
        .after_help("Examples:\n  baton-retool config\n  baton-retool config > config_schema.json")
}

pub(super) fn capabilities(matches: &ArgMatches) -> Result<(), Failure> {
    let scope = config::load_scope(matches, &Sources::of_process()).map_err(Failure::usage)?;
    let document = json_of_any(&any(&capabilities_of(scope))).map_err(Failure::run)?;
    print(&document).map_err(Failure::Run)
}

pub(super) fn config() -> Result<(), Failure> {
    let document = json(&config::schema()).map_err(Failure::run)?;
    print(&document).map_err(Failure::Run)
}

/// Prints no final line break, because programs compare the bytes.
fn print(document: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write to stdout")
}
