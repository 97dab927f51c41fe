//! Walks an organization as an agent does and prints the cost. Run with `make bench`, see `README.md`.

// A benchmark has to print, and it cannot recover from errors.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod count;
mod huge;
mod measure;
#[path = "../process.rs"]
mod process;
mod report;
#[path = "../../tests/support/fixture/mod.rs"]
mod support;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};

use report::Organization;
use support::postgres::Sizes;

/// How often an organization is walked, unless a walk takes long; the walk with the median duration is
/// reported.
const WALKS: usize = 3;
/// The number of fresh starts for the median time to the first answer.
const STARTS: usize = 10;

fn main() {
    // `cargo test --benches` also runs this.
    if cfg!(debug_assertions) {
        println!("only a release build is worth measuring: make bench");
        return;
    }
    let arguments = command().get_matches();
    let words = arguments.get_many::<String>("organization").unwrap_or_default();
    let organizations = match organizations(words.map(String::as_str)) {
        Ok(organizations) => organizations,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    let json = arguments.get_one::<String>("output").is_some_and(|output| output == "json");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return eprintln!("no runtime: {error}"),
    };
    if organizations.huge {
        if !json {
            eprintln!("huge: filling the tables, which takes minutes");
        }
        println!("{}", runtime.block_on(huge::measure(json)));
    }
    let mut measured = Vec::new();
    for organization in organizations.walked {
        if !json {
            eprintln!("{}: seeding and walking", organization.name);
        }
        measured.extend(runtime.block_on(measure::measure(organization, WALKS, STARTS)));
    }
    if measured.is_empty() {
        return;
    }
    let text = if json { report::as_json(&measured) } else { report::as_table(&measured) };
    println!("{text}");
}

fn command() -> Command {
    Command::new("walk")
        .about("Walks seeded organizations as an agent does and prints what that costs")
        .arg(
            Arg::new("organization")
                .help("small, large, huge, or sizes of your own: users=100 groups=5 pages=20 resources=10")
                .num_args(0..)
                .default_values(["small", "large"]),
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

/// The organizations to measure.
struct Organizations {
    walked: Vec<Organization>,
    /// Whether to also measure the organization that is too large to be walked.
    huge: bool,
}

/// Parses the arguments: each name is an organization, and all sizes together are one more.
fn organizations<'a>(words: impl Iterator<Item = &'a str>) -> Result<Organizations, String> {
    let mut huge = false;
    let mut organizations = Vec::new();
    let mut own: Option<Sizes> = None;
    for word in words {
        match word {
            "small" => organizations.push(Organization::small()),
            "large" => organizations.push(Organization::large()),
            "huge" => huge = true,
            size => set(own.get_or_insert_default(), size)?,
        }
    }
    organizations.extend(own.map(|sizes| Organization { name: "own sizes".to_owned(), sizes, targets: &[] }));
    Ok(Organizations { walked: organizations, huge })
}

fn set(sizes: &mut Sizes, word: &str) -> Result<(), String> {
    let (name, size) =
        word.split_once('=').ok_or_else(|| format!("{word:?} is not small, large, huge or NAME=NUMBER"))?;
    let place = match name {
        "users" => &mut sizes.users,
        "groups" => &mut sizes.groups,
        "pages" => &mut sizes.pages,
        "resources" => &mut sizes.resources,
        _ => return Err(format!("{name:?} is none of users, groups, pages, resources")),
    };
    *place = size.parse().map_err(|_| format!("{size:?} is no number"))?;
    Ok(())
}
