//! `baton-retool version`: the version of this program.

use std::io::{self, Write};
use std::sync::LazyLock;

use anyhow::Context;
use clap::{ArgMatches, Command};
use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::output::{output, wants_json};
use crate::proto::PROTOCOL_LEVEL;

/// The name of the command.
pub(super) const NAME: &str = "version";

/// The text of `-v` after the name of the program.
pub(super) const SHORT: &str = concat!("version ", env!("CARGO_PKG_VERSION"));

/// The commit of the build, or `unknown`.
const COMMIT: &str = env!("BATON_RETOOL_COMMIT");

/// The target of the build.
const TARGET: &str = env!("BATON_RETOOL_TARGET");

/// The text of `--version` after the name of the program.
pub(super) fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        format!("{SHORT}\ncommit: {COMMIT}\ntarget: {TARGET}\nprotocol: baton-sdk {PROTOCOL_LEVEL}")
    });
    &LONG
}

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Print version, commit, target and protocol level")
        .after_help("Examples:\n  baton-retool version\n  baton-retool version --output json")
        .arg(output("What to print: lines for people, or one JSON object for machines"))
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let text = if wants_json(matches) {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": COMMIT,
            "target": TARGET,
            "protocol": PROTOCOL_LEVEL,
        })
        .to_string()
    } else {
        format!("baton-retool {}", long())
    };
    writeln!(io::stdout(), "{text}").context("cannot write to stdout").map_err(Failure::Run)
}
