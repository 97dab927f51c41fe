//! The `baton-retool` program: see `baton-retool --help`.

use std::process::ExitCode;

/// glibc keeps what a burst of large requests took for as long as the program runs; this one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    baton_retool::cli::run(std::env::args_os())
}
