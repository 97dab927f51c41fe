//! Lists what tests leave out on this machine. `make test` prints the list at its end.

use std::process::Command;

use super::cluster::project_file;

/// Adds a reason to the list. The test then continues or returns without its work.
pub(crate) fn skipped(reason: &str) {
    let added = Command::new(project_file("scripts/skipped")).arg(reason).status().unwrap();
    assert!(added.success(), "{reason}");
}

/// Like [`skipped`], for a program that is not installed. Panics if the variable CI is set, because CI installs the
/// program.
#[track_caller]
pub(crate) fn without(program: &str) {
    let reason = format!("{program} is not installed");
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    skipped(&reason);
}
