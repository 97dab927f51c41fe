//! The `baton-retool` program: see `baton-retool --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_retool::cli::run(std::env::args_os())
}
