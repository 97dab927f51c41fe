//! `baton-retool show`: looks into a c1z file.

mod access;
mod rows;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Arg, ArgMatches, Command};
use serde_json::Value;

use crate::agent::c1z::{DecodeLimits, Reader};
use crate::cli::{Failure, USAGE, in_one_line};
use crate::config::{self, Sources};
use crate::proto::connector::ResourceId;

/// The name of the command.
pub(super) const NAME: &str = "show";

/// How many rows are read at a time.
const PAGE: usize = 10_000;

/// What there is to show: a heading for each column, and rows of as many cells.
struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

pub(super) fn command() -> Command {
    let listing = |name: &'static str, about: &'static str| {
        Command::new(name)
            .about(about)
            .arg(filter("type", "TYPE", "Only of resources of this type"))
            .arg(filter("resource", "TYPE/ID", "Only of this resource"))
            .arg(crate::cli::sync::output())
    };
    Command::new(NAME)
        .about("Show what a c1z file holds, from its latest finished sync")
        .long_about("Shows the resources, entitlements or grants of a c1z file, or how a user comes to what the user has access to. Reads the latest finished sync of any c1z file of format v1, whoever wrote it. Give the file with --file.")
        .subcommand_required(true)
        .subcommand(listing("resources", "List resources; --resource lists those below one"))
        .subcommand(listing("entitlements", "List what can be granted"))
        .subcommand(
            listing("grants", "List who holds what")
                .arg(filter("principal", "TYPE/ID", "Only what this user or group holds")),
        )
        .subcommand(
            Command::new("access")
                .about("List what a user has access to, each way to it on its own line")
                .arg(
                    Arg::new("user")
                        .required(true)
                        .value_name("USER")
                        .help("The user's id, e-mail address, login or name"),
                )
                .arg(crate::cli::sync::output()),
        )
}

fn filter(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).help(help)
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    match show(matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (Failure::Usage(error) | Failure::Run(error)) = &failure;
            // Nobody is left to read it when stderr is gone.
            let _ = writeln!(std::io::stderr(), "baton-retool: {}", in_one_line(error));
            if matches!(failure, Failure::Usage(_)) { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn show(matches: &ArgMatches) -> Result<(), Failure> {
    let (settings, _) =
        config::load_sync(matches, &Sources::of_process()).map_err(|error| Failure::Usage(error.into()))?;
    let Some((what, matches)) = matches.subcommand() else {
        return Err(Failure::Usage(anyhow!("say what to show: resources, entitlements, grants or access")));
    };
    let of_type = matches.try_get_one::<String>("type").ok().flatten().cloned();
    let resource = id(matches, "resource")?;
    let principal = id(matches, "principal")?;
    let reader = open(&settings.file, settings.temp_dir.as_deref()).map_err(Failure::Run)?;
    let table = match what {
        "resources" => rows::resources(&reader, of_type, resource),
        "entitlements" => rows::entitlements(&reader, of_type, resource),
        "grants" => rows::grants(&reader, of_type, resource, principal),
        _ => {
            let user = matches.get_one::<String>("user").map(String::as_str).unwrap_or_default();
            access::of(&reader, user)
        }
    };
    let table = table.map_err(Failure::Run)?;
    let json = matches.get_one::<String>("output").is_some_and(|output| output == "json");
    let text = if json { table.as_json() } else { table.as_text() };
    let mut stdout = std::io::stdout();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // `| head` has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout").map_err(Failure::Run),
    }
}

fn open(file: &Path, temp_dir: Option<&Path>) -> anyhow::Result<Reader> {
    let reader = Reader::open(file, temp_dir, DecodeLimits::from_environment())?;
    reader.run()?;
    Ok(reader)
}

/// The id that an option names as `type/id`.
fn id(matches: &ArgMatches, option: &str) -> Result<Option<ResourceId>, Failure> {
    let Ok(Some(text)) = matches.try_get_one::<String>(option) else { return Ok(None) };
    match text.split_once('/') {
        Some((of, one)) if !of.is_empty() && !one.is_empty() => Ok(Some(ResourceId {
            resource_type: of.to_owned(),
            resource: one.to_owned(),
            ..Default::default()
        })),
        _ => Err(Failure::Usage(anyhow!(
            "--{option} {text:?} names no resource: write TYPE/ID, such as group/g1"
        ))),
    }
}

impl Table {
    fn as_text(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let heading: Vec<String> = self.columns.iter().map(|&column| column.to_owned()).collect();
        let line = |cells: &Vec<String>| {
            let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        std::iter::once(&heading).chain(&self.rows).map(line).collect::<Vec<_>>().join("\n")
    }

    fn as_json(&self) -> String {
        let object = |row: &Vec<String>| {
            let cells = self.columns.iter().zip(row);
            Value::Object(
                cells.map(|(&column, cell)| (column.to_owned(), Value::from(cell.as_str()))).collect(),
            )
        };
        Value::Array(self.rows.iter().map(object).collect()).to_string()
    }
}

/// Text of a connector on one line: a cell is no place for control characters.
fn cell(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// `type/id`
fn written(id: Option<&ResourceId>) -> String {
    id.map(|id| cell(&format!("{}/{}", id.resource_type, id.resource))).unwrap_or_default()
}
