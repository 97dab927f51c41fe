//! The option `--output`: a table for people or JSON for machines.

use clap::Arg;

/// The argument `--output` of a command with output for people or for machines.
pub(super) fn output(help: &'static str) -> Arg {
    Arg::new(OUTPUT)
        .long(OUTPUT)
        .value_name("FORMAT")
        .help(help)
        .value_parser(["table", JSON])
        .default_value("table")
}

/// Whether `--output` requests JSON.
pub(super) fn wants_json(matches: &clap::ArgMatches) -> bool {
    matches.get_one::<String>(OUTPUT).is_some_and(|output| output == JSON)
}

const OUTPUT: &str = "output";
const JSON: &str = "json";
