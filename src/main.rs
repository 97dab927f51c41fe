//! The `baton-retool` program: see `baton-retool --help`.

use std::process::ExitCode;

/// glibc keeps the memory of a burst of large requests until the program ends; this allocator returns it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    baton_retool::cli::run(std::env::args_os())
}
