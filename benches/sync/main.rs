//! Syncs an organization into a file and prints the cost, on request next to the agent of the Go SDK. Run
//! with `make bench`, see `../README.md`.

// A benchmark has to print, and it cannot recover from errors.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod measure;
// Only the walk uses all of it.
#[allow(dead_code)]
#[path = "../process.rs"]
mod process;
mod report;
#[path = "../../tests/support/fixture/mod.rs"]
mod support;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use measure::{Organization, measure};
use support::postgres::Sizes;

/// How often an organization is synced, unless a sync takes long; the sync with the median duration is
/// reported.
const SYNCS: usize = 3;

fn main() {
    // `cargo test --benches` also runs this.
    if cfg!(debug_assertions) {
        println!("only a release build is worth measuring: make bench");
        return;
    }
    let arguments = command().get_matches();
    let organizations: Vec<Organization> =
        arguments.get_many::<String>("organization").unwrap_or_default().map(|name| named(name)).collect();
    let json = is(&arguments, "output", "json");
    let beside_sdk = arguments.get_flag("sdk");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let measured: Vec<_> = organizations
        .into_iter()
        .map(|organization| {
            eprintln!("{}: seeding and syncing", organization.name);
            runtime.block_on(measure(organization, SYNCS, beside_sdk))
        })
        .collect();
    println!("{}", if json { report::as_json(&measured) } else { report::as_table(&measured) });
}

fn command() -> Command {
    Command::new("sync")
        .about("Syncs seeded organizations into a file and prints what that costs")
        .arg(
            Arg::new("organization")
                .help("tiny (40 users) or small (2,000 users, 2 to 3 million grants)")
                .num_args(0..)
                .value_parser(PossibleValuesParser::new(["tiny", "small"]))
                .default_values(["tiny", "small"]),
        )
        .arg(
            Arg::new("sdk")
                .long("sdk")
                .help("Let the Go SDK's agent sync the same, from this program's server (needs Go)")
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new("output")
                .long("output")
                .value_parser(PossibleValuesParser::new(["table", "json"]))
                .default_value("table"),
        )
        // `cargo bench` adds this flag.
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
}

fn is(arguments: &ArgMatches, name: &str, value: &str) -> bool {
    arguments.get_one::<String>(name).is_some_and(|given| given == value)
}

fn named(name: &str) -> Organization {
    match name {
        "tiny" => Organization {
            name: "tiny",
            sizes: Sizes { users: 40, groups: 8, pages: 24, resources: 12 },
            most_seconds: Some(0.3),
            times_faster: None,
        },
        _ => Organization {
            name: "small",
            sizes: Sizes { users: 2_000, groups: 60, pages: 400, resources: 120 },
            most_seconds: None,
            times_faster: Some(4.0),
        },
    }
}
