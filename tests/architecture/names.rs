//! Names of tests in the documentation, and requests that their handlers do not read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below this folder of the repository.
fn sources(folder: &str) -> Vec<String> {
    let mut paths = Vec::new();
    crate::collect(&root().join(folder), &mut paths);
    paths.iter().map(|path: &PathBuf| fs::read_to_string(path).unwrap()).collect()
}

/// The names of the functions with an attribute `#[test]`, `#[tokio::test]` or similar, and of those in a
/// macro such as `proptest!`.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().map(str::trim_start).filter_map(move |line| {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            return None;
        }
        let name = line.trim_start_matches("async ").strip_prefix("fn ").filter(|_| is_test);
        is_test &= line.is_empty() || line.starts_with("//");
        name.and_then(|name| name.split('(').next())
    })
}

/// The code in the last column of each row of the tables with a column `Test`.
fn named_tests(page: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_table_of_tests = false;
    for line in page.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|')) else {
            is_table_of_tests = false;
            continue;
        };
        let Some(last) = row.rsplit('|').next() else { continue };
        is_table_of_tests |= last.trim() == "Test";
        if is_table_of_tests {
            names.extend(last.split('`').skip(1).step_by(2));
        }
    }
    names
}

#[test]
fn the_tests_that_the_documentation_names_exist() {
    let sources = [sources("src"), sources("tests")].concat();
    let tests: BTreeSet<&str> = sources.iter().flat_map(|text| tests_in(text)).collect();
    assert!(tests.len() > 1_000, "only {} tests", tests.len());
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let named = named_tests(&page);
    assert!(named.len() > 50, "only {named:?}");
    let exists = |name: &str| {
        if name.contains('/') { root().join(name).exists() } else { tests.contains(name) }
    };
    let missing: Vec<_> = named.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "docs/security.md names tests that do not exist: {missing:?}");
}

/// A handler that began to read such a request would get an empty one.
#[test]
fn handlers_do_not_read_requests_that_the_codec_does_not_decode() {
    let list = fs::read_to_string(root().join("src/proto/codec/unread.rs")).unwrap();
    // The handlers of changes read their requests only while changes are on.
    let always = list.split("pub(super) const CHANGES").next().unwrap_or_default();
    let names = always.lines().filter(|line| line.contains("Part::Nothing)"));
    let names: Vec<_> = names.filter_map(|line| line.split('"').nth(1)?.rsplit('.').next()).collect();
    assert!(names.len() > 5, "only {names:?}");
    let handlers = sources("src/server/services").concat();
    for name in names {
        let taken: Vec<_> =
            handlers.lines().filter(|line| line.contains(&format!(": Request<{name}>"))).collect();
        let [taken] = taken[..] else { panic!("{name} is not the request of one handler: {taken:?}") };
        assert!(taken.contains(&format!("_: Request<{name}>")), "a handler reads {name}: {taken}");
    }
}

#[test]
fn finds_tests_and_their_names_in_tables() {
    let text = "#[test]\nfn one() {}\nfn helper() {}\n#[tokio::test(flavor = \"x\")]\n#[cfg(unix)]\nasync fn two() {\n}\n";
    assert_eq!(tests_in(text).collect::<Vec<_>>(), ["one", "two"]);
    let page = "| Attack | Test |\n|---|---|\n| `not` | `one`, `src/a.rs` |\n\n| Other |\n| `no` |\n";
    assert_eq!(named_tests(page), ["one", "src/a.rs"]);
}
