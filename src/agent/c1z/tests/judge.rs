//! The public `baton` tool reads what the store writes, and expands it to the same grants.
//!
//! Building the tool takes Go and minutes, so `cargo test` skips these tests; `make judge` runs them.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::agent::c1z::tests::support::{Organization, Outcome, hands_on};

/// Builds the tool if it is missing, and returns its path.
fn baton() -> Result<PathBuf, Box<dyn StdError>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(root.join("scripts/sdk-tool")).arg("baton").output()?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into());
    }
    Ok(PathBuf::from(String::from_utf8(built.stdout)?.trim_end()))
}

fn run(tool: &Path, file: &Path, arguments: &[&str]) -> Result<Output, Box<dyn StdError>> {
    let folder = file.parent().ok_or("no folder")?;
    let output = Command::new(tool).current_dir(folder).arg("-f").arg(file).args(arguments).output()?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("baton {arguments:?} on {}: {said}", file.display()).into())
}

/// Organizations of several shapes, and whether the tool's own expansion of each is always the same.
fn shapes() -> Vec<(&'static str, Organization, bool)> {
    let mut cycle = Organization::nested();
    cycle.grant("g2", "g1", vec![hands_on(&["group:g1:member"], false, &[])]);
    let mut chain = Organization::new(3, 15, 1);
    chain.grant("g1", "u1", Vec::new());
    for group in 2..=15 {
        let source = format!("group:g{}:member", group - 1);
        chain.grant(&format!("g{group}"), &format!("g{}", group - 1), vec![hands_on(&[&source], false, &[])]);
    }
    chain.grant("p1", "g15", vec![hands_on(&["group:g15:member"], false, &["user"])]);
    vec![
        ("empty", Organization::default(), true),
        ("types", Organization::new(0, 0, 0), true),
        ("plain", Organization::new(3, 2, 1), true),
        ("nested", Organization::nested(), true),
        ("chain", chain, true),
        ("wide", Organization::wide(60, 7, 20), true),
        ("cycle", cycle, false),
    ]
}

#[test]
#[ignore = "builds a Go program: make judge"]
fn every_baton_command_reads_our_files() -> Outcome {
    let tool = baton()?;
    let folder = tempfile::tempdir()?;
    for (name, made, same) in shapes() {
        let file = folder.path().join(format!("{name}.c1z"));
        let saved = made.sync(&file)?;
        let counts = BTreeMap::from([
            ("resource-types", made.types.len() as u64),
            ("resources", made.resources.len() as u64),
            ("entitlements", made.entitlements.len() as u64),
            ("grants", saved.grants),
        ]);
        for command in
            ["resource-types", "resources", "entitlements", "grants", "principals", "stats", "syncs"]
        {
            let output = run(&tool, &file, &["-o", "json", command])?;
            let said: serde_json::Value = serde_json::from_slice(&output.stdout)
                .map_err(|error| format!("{name}: baton {command}: {error}"))?;
            if let Some(count) = counts.get(command) {
                let listed = said.as_object().and_then(|said| said.values().next());
                let listed = listed.and_then(|list| list.as_array()).map_or(0, Vec::len);
                assert_eq!(listed as u64, *count, "{name}: baton {command}");
            }
        }
        let pebble = format!("{name}-pebble.c1z");
        run(&tool, &file, &["to-pebble", "--out", &pebble])?;
        let clean = format!("{name}-clean.c1z");
        run(&tool, &file, &["sanitize", "--out", &clean])?;
        run(&tool, &file, &["export", "csv", "--out", &format!("{name}-export")])?;
        if same && made.grants.len() > 1 {
            let out = format!("{name}-replayed.c1z");
            run(&tool, &file, &["rollback-expansion", "--out", &out, "--replay", "--validate"])?;
        }
        // The second sync gives `diff` two syncs to compare.
        made.sync(&file)?;
        run(&tool, &file, &["diff"])?;
        run(&tool, &file, &["syncs"])?;
    }
    Ok(())
}
