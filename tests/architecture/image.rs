//! The build context of the image, which `.dockerignore` limits.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Whether `.dockerignore` keeps a file. The first pattern excludes everything; the others name files and directories.
fn is_kept(ignore: &str, path: &Path) -> bool {
    ignore.lines().filter_map(|line| line.strip_prefix('!')).any(|kept| path.starts_with(kept))
}

#[test]
fn the_image_is_built_from_every_target_of_the_manifest() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignore = fs::read_to_string(root.join(".dockerignore")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets = metadata["packages"][0]["targets"].as_array().unwrap();
    assert!(targets.len() > 5, "{metadata}");
    for target in targets {
        let path = Path::new(target["src_path"].as_str().unwrap()).strip_prefix(root).unwrap();
        assert!(
            is_kept(&ignore, path),
            "Cargo cannot read the manifest in the image: add {} to .dockerignore",
            path.display()
        );
    }
    assert!(!is_kept(&ignore, Path::new("notes.txt")));
}
