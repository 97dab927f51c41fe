//! Files that settings name are read and named in messages only through `operator_file`.

use std::fs;
use std::path::Path;

/// Text that reads a whole file or shows a path.
const DIRECT: [&str; 4] = ["fs::read(", "fs::read_to_string(", "File::open(", ".display()"];
/// Files of `src` that may do so, because they handle files of the program itself or of the system, files that
/// the program has written, or sockets.
const ALLOWED: [&str; 14] = [
    "agent/c1z/container.rs",
    "agent/c1z/image.rs",
    "agent/c1z/workspace.rs",
    "agent/service/debug_log.rs",
    "agent/service/machine.rs",
    "agent/service/tasks/sync.rs",
    "agent/sync/usage.rs",
    "cli/signals.rs",
    "cli/sync.rs",
    "cli/sync/report.rs",
    "operator_file.rs",
    "postgres/connection_string/hosts.rs",
    "postgres/diagnosis/network.rs",
    "server/transport/listener.rs",
];

/// The lines before the inline tests that handle a file without `operator_file`.
fn direct(text: &str) -> Vec<&str> {
    let released = text.split("#[cfg(test)]\n#[allow(clippy::").next().unwrap_or_default();
    let released = released.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    released.lines().filter(|line| DIRECT.iter().any(|direct| line.contains(direct))).collect()
}

#[test]
fn files_that_settings_name_are_handled_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    crate::collect(&root, &mut paths);
    let (mut wrong, mut used) = (Vec::new(), Vec::new());
    for path in paths.iter().filter(|path| !is_test(path)) {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        for line in direct(&text) {
            used.push(name.to_owned());
            if !ALLOWED.contains(&name) {
                wrong.push(format!("{name}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "use operator_file::read and operator_file::shown:\n{}", wrong.join("\n"));
    for name in ALLOWED {
        assert!(used.iter().any(|used| used == name), "{name} needs no exception any more");
    }
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
}

#[test]
fn a_line_in_released_code_is_found() {
    let code = "let text = fs::read(path)?;\n#[cfg(test)]\nmod tests {\nfs::read(path)\n}";
    assert_eq!(direct(code), ["let text = fs::read(path)?;"]);
}
