//! `baton-retool setup-sql`: prints the SQL script that prepares Retool's database.

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::cli::failure::Failure;
use crate::config::{self, Detail};
use crate::postgres::identifier::RoleName;
use crate::retool::privileges::Scope;
use crate::retool::setup::{Wanted, script};

/// The name of the command.
pub(super) const NAME: &str = "setup-sql";

/// The settings that reduce the privileges of the role, with their help for this command.
const USED: [(&str, &str); 3] = [
    ("skip-pages", "Grant nothing on apps, for a connector that runs with --skip-pages"),
    ("skip-resources", "Grant nothing on resources, for a connector that runs with --skip-resources"),
    (
        "managed-groups",
        "Whether groups,pages also allows the creation of groups that give single users access to apps [default: true]",
    ),
];

const PROVISIONING: &str = "provisioning";
const GROUPS: &str = "groups";
const PAGES: &str = "pages";

pub(super) fn command(detail: Detail) -> Command {
    // Replaces the setting with the same name, which is a switch.
    let features = Arg::new(PROVISIONING)
        .long(PROVISIONING)
        .value_name("FEATURES")
        .action(ArgAction::Append)
        .value_delimiter(',')
        .help("What the role may change: groups (their members), pages (groups' access to apps), or groups,pages, which also allows access to apps for single users");
    // Shells complete these values; the command itself reports an invalid one.
    let is_documented = detail == Detail::Documented;
    let features = if is_documented { features.value_parser([GROUPS, PAGES]) } else { features };
    Command::new(NAME)
        .about("Print the SQL that creates the database role with only the privileges that it needs")
        .long_about("Prints the SQL that creates the database role, if it does not exist, and grants it only the privileges that it needs. Run it in Retool's database as the owner of its tables, with any client and as often as necessary. Reads no variable, no configuration file and no database.")
        .after_help("Examples:\n  baton-retool setup-sql --role baton | psql -d hammerhead_production\n  baton-retool setup-sql --role baton --provisioning=groups,pages --extras")
        .arg(
            Arg::new("role")
                .long("role")
                .value_name("NAME")
                .required(true)
                .help("The role that the connector logs in as, without quotes; case matters"),
        )
        .arg(features)
        .arg(
            Arg::new("extras")
                .long("extras")
                .action(ArgAction::SetTrue)
                .help("Also grant read access to archived groups, creation time, last activity and kind of users, folders, and the audit log without its metadata"),
        )
        .args(settings(detail))
}

/// The settings that reduce the privileges of the role, and the others as hidden flags. The others are
/// global, so the command line accepts them, and the command then reports that they have no effect.
fn settings(detail: Detail) -> impl Iterator<Item = Arg> {
    let others = config::arguments().into_iter().filter(|argument| argument.get_id() != PROVISIONING);
    others.filter_map(move |argument| match USED.iter().find(|(name, _)| argument.get_id() == name) {
        Some((_, help)) => Some(argument.help(*help).help_heading(None)),
        None => (detail != Detail::Documented).then(|| argument.hide(true)),
    })
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let known = |name: &str| name == PROVISIONING || USED.iter().any(|(used, _)| *used == name);
    if let Some(other) = config::typed(matches).find(|setting| !known(setting.name)) {
        let problem = anyhow!("--{} does not apply to {NAME}: remove it", other.name);
        return Err(Failure::Usage(problem));
    }
    let role = matches.get_one::<String>("role").map_or("", String::as_str);
    let role = RoleName::new(role).map_err(|error| Failure::Usage(anyhow!("--role: {error}")))?;
    let scope = config::load_typed_scope(matches, PROVISIONING).map_err(Failure::usage)?;
    let wanted = wanted(matches, scope)?;
    let scope = Scope { provisioning: wanted.groups || wanted.pages, ..scope };
    let script = script(&role, wanted, scope);
    let mut stdout = io::stdout();
    stdout
        .write_all(script.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")
        .map_err(Failure::Run)
}

fn wanted(matches: &ArgMatches, scope: Scope) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { extras: matches.get_flag("extras"), ..Wanted::default() };
    for feature in matches.get_many::<String>(PROVISIONING).into_iter().flatten() {
        match feature.trim() {
            GROUPS => wanted.groups = true,
            PAGES if scope.skip_pages => {
                let problem = anyhow!(
                    "--{PROVISIONING}={PAGES} and --skip-pages are mutually exclusive: set only one of them"
                );
                return Err(Failure::Usage(problem));
            }
            PAGES => wanted.pages = true,
            other => {
                let problem = anyhow!("--{PROVISIONING}: {other:?} is unknown; accepted: {GROUPS}, {PAGES}");
                return Err(Failure::Usage(problem));
            }
        }
    }
    Ok(wanted)
}
