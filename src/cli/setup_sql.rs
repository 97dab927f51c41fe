//! `baton-retool setup-sql`: prints the script that prepares Retool's database.

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Failure;
use crate::retool::database::identifier::RoleName;
use crate::retool::database::setup::{Wanted, script};

/// The name of the command.
pub(super) const NAME: &str = "setup-sql";

const GROUPS: &str = "groups";
const PAGES: &str = "pages";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Print the SQL that creates the database role and grants it what it needs, and nothing more")
        .long_about("Prints the SQL that creates the database role, if it is not there, and grants it what it needs and nothing more. Run it in Retool's database as the owner of its tables, with any client and as often as you like. Needs no other setting and no database.")
        .arg(
            Arg::new("role")
                .long("role")
                .value_name("NAME")
                .required(true)
                .help("The role that the connector logs in as, spelt exactly, without quotes"),
        )
        .arg(
            // Takes the place of the setting of that name, which has no meaning here.
            Arg::new("provisioning")
                .long("provisioning")
                .value_name("FEATURES")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .help("What the role may change: groups (their members), pages (groups' access to apps), or groups,pages, which lets it give single users access to apps as well"),
        )
        .arg(
            Arg::new("extras")
                .long("extras")
                .action(ArgAction::SetTrue)
                .help("Also archived groups, creation time, last activity and kind of users, folders, and the audit log without its metadata"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let role = matches.get_one::<String>("role").map_or("", String::as_str);
    let role = RoleName::new(role).map_err(|error| Failure::Usage(anyhow!("--role: {error}")))?;
    let script = script(&role, wanted(matches)?);
    let mut stdout = io::stdout();
    stdout
        .write_all(script.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")
        .map_err(Failure::Run)
}

fn wanted(matches: &ArgMatches) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { extras: matches.get_flag("extras"), ..Wanted::default() };
    for feature in matches.try_get_many::<String>("provisioning").ok().flatten().into_iter().flatten() {
        match feature.trim() {
            GROUPS => wanted.groups = true,
            PAGES => wanted.pages = true,
            other => {
                let problem = anyhow!("--provisioning: {other:?} is none of {GROUPS}, {PAGES}");
                return Err(Failure::Usage(problem));
            }
        }
    }
    Ok(wanted)
}
