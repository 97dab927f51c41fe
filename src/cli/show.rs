//! `baton-retool show`: prints the contents of a c1z file.

mod access;
mod rows;

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use clap::{Arg, ArgMatches, Command, ValueHint};

use crate::agent::c1z::{DecodeLimits, Reader};
use crate::cli::failure::Failure;
use crate::cli::output::{output, wants_json};
use crate::config::{self, Sources};
use crate::proto::connector::ResourceId;

/// The name of the command.
pub(super) const NAME: &str = "show";

pub(super) fn command() -> Command {
    let listing = |name: &'static str, about: &'static str, examples: &'static str| {
        Command::new(name)
            .about(about)
            .after_help(examples)
            .arg(filter("type", "TYPE", "Only for resources of this type"))
            .arg(filter("resource", "TYPE/ID", "Only for this resource"))
            .arg(output_argument())
    };
    Command::new(NAME)
        .about("Show the contents of a c1z file, from its latest finished sync")
        .long_about("Shows the resources, entitlements or grants of a c1z file, or how a user gets access. Reads the latest finished sync of any c1z file of format v1, from any connector. Set the file with --file.")
        .after_help("Examples:\n  baton-retool show resources --type user\n  baton-retool show grants --principal group/g1 --output json\n  baton-retool show access ada@example.com")
        .subcommand_required(true)
        .subcommand(listing(
            "resources",
            "List resources; --resource lists those below one",
            "Examples:\n  baton-retool show resources --type user\n  baton-retool show resources --resource org/o1 --output json",
        ))
        .subcommand(listing(
            "entitlements",
            "List what can be granted",
            "Examples:\n  baton-retool show entitlements --resource group/g1\n  baton-retool show entitlements --type page --output json",
        ))
        .subcommand(
            listing(
                "grants",
                "List which principal has which entitlement",
                "Examples:\n  baton-retool show grants --principal user/u5\n  baton-retool show grants --resource page/p1 --output json",
            )
                .arg(filter("principal", "TYPE/ID", "Only grants that this user or group holds")),
        )
        .subcommand(
            Command::new("access")
                .about("List what a user has access to, one line for each path to it")
                .after_help("Examples:\n  baton-retool show access ada@example.com\n  baton-retool show access u5 --output json")
                .arg(
                    Arg::new("user")
                        .required(true)
                        .value_name("USER")
                        .help("The user's id, e-mail address, login or name"),
                )
                .arg(output_argument()),
        )
}

fn output_argument() -> Arg {
    output("What to print: a table for people, or a JSON array for machines")
}

fn filter(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).value_hint(ValueHint::Other).help(help)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let (settings, _) = config::load_sync(matches, &Sources::of_process()).map_err(Failure::usage)?;
    let Some((what, matches)) = matches.subcommand() else {
        return Err(Failure::Usage(anyhow!("missing argument: resources, entitlements, grants or access")));
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
    let text = if wants_json(matches) { table.as_json() } else { table.as_text() };
    let mut stdout = io::stdout();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // The reader, such as `| head`, has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout").map_err(Failure::Run),
    }
}

fn open(file: &Path, temp_dir: Option<&Path>) -> anyhow::Result<Reader> {
    let reader = Reader::open(file, temp_dir, DecodeLimits::from_environment())?;
    reader.run()?;
    Ok(reader)
}

/// Parses the id in an option with the form `type/id`.
fn id(matches: &ArgMatches, option: &str) -> Result<Option<ResourceId>, Failure> {
    let Ok(Some(text)) = matches.try_get_one::<String>(option) else { return Ok(None) };
    match text.split_once('/') {
        Some((of, one)) if !of.is_empty() && !one.is_empty() => Ok(Some(ResourceId {
            resource_type: of.to_owned(),
            resource: one.to_owned(),
            ..Default::default()
        })),
        _ => Err(Failure::Usage(anyhow!(
            "--{option} is not the id of a resource: use the form TYPE/ID, such as group/g1"
        ))),
    }
}
