//! `baton-retool man`: manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, value_parser};

use crate::cli::failure::Failure;
use crate::operator_file::shown;

/// The name of the command.
pub(super) const NAME: &str = "man";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Print the manual page, or write one for each command")
        .after_help("Examples:\n  baton-retool man | man -l -\n  baton-retool man --directory /usr/local/share/man/man1")
        .arg(
            Arg::new("directory")
                .long("directory")
                .value_name("DIRECTORY")
                .value_parser(value_parser!(PathBuf))
                .help("Write the pages of the program and of each command to this directory, which is created if it does not exist"),
        )
}

/// `whole` is the command line to describe.
pub(super) fn run(matches: &ArgMatches, whole: Command) -> Result<(), Failure> {
    match matches.get_one::<PathBuf>("directory") {
        Some(directory) => write_all(directory, whole),
        None => print(whole).context("cannot write to stdout"),
    }
    .map_err(Failure::Run)
}

fn write_all(directory: &Path, whole: Command) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(whole, directory))
        .with_context(|| format!("cannot write to {}", shown(directory)))
}

fn print(whole: Command) -> io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(whole).render(&mut page)?;
    let mut stdout = io::stdout();
    stdout.write_all(&page)?;
    stdout.flush()
}
