//! The modules of `src` import only lower layers, and without cycles.
//!
//! `files` checks how files are read and named, `image` the build context of the image, and `names` the names in
//! documentation and lists. `imports` reads the imports of each file, `rules` finds forbidden imports; this file
//! defines the layers and runs the rules on `src`.

// The lints on panics apply only to released code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod files;
mod image;
mod imports;
mod names;
mod rules;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use imports::Tree;
use rules::{Layers, import_cycles, misplaced_imports};

/// The top-level modules that each module may import. Every other top-level module is a leaf: each module may
/// import it, and it imports no other module of the crate.
const LAYERS: Layers<'static> = Layers(&[
    ("cli", &["config", "server", "agent", "connector", "retool", "postgres", "proto", "telemetry"]),
    ("config", &["server", "agent", "connector", "retool", "postgres", "proto", "telemetry"]),
    ("server", &["connector", "proto", "telemetry"]),
    ("agent", &["proto", "telemetry"]),
    ("connector", &["retool", "postgres", "proto", "telemetry"]),
    ("retool", &["postgres", "telemetry"]),
    ("postgres", &["telemetry"]),
    ("proto", &[]),
    ("telemetry", &[]),
]);

#[test]
fn modules_import_downwards_only() {
    let wrong = misplaced_imports(&SOURCES, LAYERS);
    assert!(wrong.is_empty(), "these imports go upwards or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn files_do_not_import_each_other_in_cycles() {
    let cycles = import_cycles(&SOURCES);
    assert!(cycles.is_empty(), "these files import each other:\n{}", cycles.join("\n"));
}

/// All files of the library.
static SOURCES: LazyLock<Tree> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join("src"), &mut paths);
    assert!(paths.len() > 100, "only {} files in src", paths.len());
    let files = paths.iter().map(|path| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        (name, fs::read_to_string(path).unwrap())
    });
    // The program is a separate crate that imports the library.
    Tree::parse(files.filter(|(name, _)| name != "src/main.rs"))
});

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Runs the rules on trees with deliberate errors.
mod self_test {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        Tree::parse(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
    }

    #[test]
    fn an_upward_import_is_reported_with_file_line_and_import() {
        let tree = tree(&[
            ("src/lib.rs", "mod postgres;\nmod retool;\nmod cli;"),
            ("src/cli.rs", "use crate::retool::Table;\nuse crate::postgres::Pool;"),
            ("src/retool.rs", "pub struct Table;\nfn f() {\n    crate::cli::run();\n}"),
            ("src/postgres.rs", "use std::fmt;\n\nuse crate::retool::{self, Table};\npub struct Pool;"),
        ]);
        assert_eq!(
            misplaced_imports(&tree, LAYERS),
            [
                "src/postgres.rs:3: crate::retool: postgres must not import retool",
                "src/retool.rs:3: crate::cli::run: retool must not import cli",
            ]
        );
    }

    #[test]
    fn server_and_agent_are_independent_and_leaf_modules_import_nothing() {
        let tree = tree(&[
            ("src/lib.rs", "mod agent; mod server; mod roots; mod telemetry; mod proto;"),
            ("src/agent.rs", "use crate::server::Server; use crate::roots::Roots; use crate::proto::Grant;"),
            ("src/server.rs", "pub struct Server;\nuse crate::agent::Agent;"),
            ("src/roots.rs", "pub struct Roots;\nuse crate::telemetry::Metrics;"),
            ("src/proto.rs", "pub struct Grant;"),
            ("src/telemetry.rs", "pub struct Metrics;"),
        ]);
        assert_eq!(
            misplaced_imports(&tree, LAYERS),
            [
                "src/agent.rs:1: crate::server::Server: agent must not import server",
                "src/roots.rs:2: crate::telemetry::Metrics: roots must not import telemetry",
                "src/server.rs:2: crate::agent::Agent: server must not import agent",
            ]
        );
    }

    #[test]
    fn detects_imports_by_super_in_macros_and_by_module_names() {
        let tree = tree(&[
            ("src/lib.rs", "pub mod cli; pub mod retool;"),
            ("src/retool.rs", "pub mod tables;"),
            ("src/retool/tables.rs", "fn f() {\n    assert!(\n        super::super::cli::ready());\n}"),
            ("src/cli.rs", "pub mod doctor;"),
            ("src/cli/doctor.rs", "use crate::retool;\nfn f() { retool::tables::f(); }"),
        ]);
        assert_eq!(
            misplaced_imports(&tree, LAYERS),
            ["src/retool/tables.rs:3: super::super::cli::ready: retool must not import cli"]
        );
        assert_eq!(
            tree.edges().map(|edge| (edge.from, edge.to)).collect::<Vec<_>>(),
            [
                ("src/cli/doctor.rs", "src/retool.rs"),
                ("src/cli/doctor.rs", "src/retool/tables.rs"),
                ("src/retool/tables.rs", "src/cli.rs"),
            ]
        );
    }

    #[test]
    fn a_cycle_of_files_is_reported_with_each_import_in_it() {
        let tree = tree(&[
            ("src/lib.rs", "mod retool;"),
            ("src/retool.rs", "pub mod a; pub mod b; pub mod c; pub mod d;"),
            ("src/retool/a.rs", "use crate::retool::b::B;\npub struct A;"),
            ("src/retool/b.rs", "use super::c::C;\npub struct B;"),
            ("src/retool/c.rs", "pub struct C(crate::retool::a::A);"),
            ("src/retool/d.rs", "use crate::retool::a::A;"),
        ]);
        let whole = "src/retool/a.rs:1: crate::retool::b::B\n  src/retool/b.rs:1: super::c::C\n  \
                     src/retool/c.rs:1: crate::retool::a::A";
        assert_eq!(import_cycles(&tree), [format!("- {whole}")]);
        assert_eq!(misplaced_imports(&tree, LAYERS), [""; 0]);
    }

    #[test]
    fn a_child_and_its_parent_are_a_cycle_unless_the_parent_only_reexports() {
        let child = ("src/retool/id.rs", "use crate::retool::Error;\npub struct Id;");
        let error = ("src/retool/error.rs", "pub enum Error {}");
        let facade = "pub mod id;\nmod error;\npub use error::Error;\npub use id::Id;";
        let good = tree(&[("src/lib.rs", "mod retool;"), ("src/retool.rs", facade), child, error]);
        assert_eq!(import_cycles(&good), [""; 0]);

        let parent = "mod id;\nuse crate::retool::id::Id;\npub enum Error { Wrong(Id) }";
        let bad = tree(&[("src/lib.rs", "mod retool;"), ("src/retool.rs", parent), child]);
        assert_eq!(
            import_cycles(&bad),
            ["- src/retool.rs:2: crate::retool::id::Id\n  src/retool/id.rs:1: crate::retool::Error"]
        );
    }

    #[test]
    fn tests_inside_the_library_may_import_anything() {
        let tree = tree(&[
            ("src/lib.rs", "mod cli; mod retool;"),
            ("src/cli.rs", "pub fn run() {}"),
            ("src/retool.rs", "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod inline { use crate::cli::run; }"),
            ("src/retool/tests.rs", "mod more;\nuse crate::cli::run;"),
            ("src/retool/tests/more.rs", "use crate::cli::run;"),
        ]);
        assert_eq!(misplaced_imports(&tree, LAYERS), [""; 0]);
    }
}
