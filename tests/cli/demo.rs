//! `make demo`: rejected arguments, and the features of the demo.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use baton_retool::proto::connector::account_manager_service_client::AccountManagerServiceClient;
use baton_retool::proto::connector::action_service_client::ActionServiceClient;
use tonic::transport::Channel;

use crate::support::cluster::project_file;
use crate::support::skipped;
use crate::support::stage::{action, ada, result};

fn demo_script(arguments: &[&str]) -> Command {
    let mut script = Command::new(project_file("scripts/demo"));
    script.args(arguments);
    script
}

/// Removes the variables that Cargo and the build script set for a test. With them, a build in the test compiles this package,
/// some dependencies and all that depend on them again, and so does the next build without them.
fn without_variables_of_the_build(mut command: Command) -> Command {
    const NAMES: [&str; 5] =
        ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"];
    const STARTS: [&str; 4] = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_EXE_", "BATON_RETOOL_"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if NAMES.contains(&&*text) || STARTS.iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command
}

/// The demo as run by `make demo`; stopped when dropped.
struct Demo {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Demo {
    fn start() -> Self {
        // Cargo builds examples for a test run only if the command names no target.
        let mut build = without_variables_of_the_build(Command::new(env!("CARGO")));
        let built = build.args(["build", "--example", "retool-api-double"]).status().unwrap();
        assert!(built.success(), "the double of Retool's REST API was not built");
        let sizes = ["users=3", "groups=1", "pages=1", "resources=1"];
        let mut process = Command::new(project_file("scripts/with-postgres"))
            .arg(project_file("scripts/demo"))
            .arg("127.0.0.1:0")
            .args(sizes)
            .env("BATON_PROVISIONING", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Returns the text after `start` in the next line that starts with it.
    fn wait_for(&mut self, start: &str) -> String {
        let found = self
            .lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.trim_start().strip_prefix(start).map(str::to_owned));
        found.unwrap_or_else(|| panic!("the demo ended without a line that begins with {start:?}"))
    }

    fn terminate(&self) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            self.terminate();
            self.process.wait().unwrap();
        }
    }
}

#[test]
fn rejects_invalid_sizes_and_addresses_and_names_the_make_variable() {
    for (arguments, words) in [
        (["127.0.0.1:0", "users=many"], "USERS is \"many\"; give a number from 1 to"),
        (["127.0.0.1:0", "groups=0"], "GROUPS is 0; give a number from 1 to"),
        (["127.0.0.1:0", "pages="], "PAGES is \"\""),
        (["127.0.0.1:0", "resources=99999999999999999999"], "RESOURCES is \"9999"),
        (["127.0.0.1", "users=1"], "make demo LISTEN=127.0.0.1:9000"),
        (["127.0.0.1:http", "users=1"], "the port of LISTEN is \"http\""),
    ] {
        let output = demo_script(&["--check"]).args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(words) && errors.lines().count() == 1, "{arguments:?}: {errors}");
    }
    assert!(demo_script(&["--check", "127.0.0.1:0", "users=1"]).status().unwrap().success());
}

#[test]
fn rejects_a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = demo_script(&["--check", &address]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains(&format!("another program listens on {address}")), "{errors}");
}

/// Runs the arguments under a terminal, presses Ctrl-C after the output "Serving on", and prints the exit code.
const AT_A_TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
output, pressed = b"", False
while True:
    try:
        output += os.read(terminal, 4096)
    except OSError:
        break
    if not pressed and b"Serving on" in output:
        pressed = True
        os.write(terminal, b"\x03")
_, status = os.waitpid(pid, 0)
print(output.decode(errors="replace"), file=sys.stderr)
print(pressed, os.waitstatus_to_exitcode(status))
"#;

#[test]
fn ctrl_c_ends_make_demo_with_success() {
    if Command::new("python3").arg("--version").output().is_err() {
        skipped::without("python3");
        return;
    }
    let sizes = ["LISTEN=127.0.0.1:0", "USERS=3", "GROUPS=1", "PAGES=1", "RESOURCES=1"];
    let output = without_variables_of_the_build(Command::new("python3"))
        .args(["-c", AT_A_TERMINAL, "make", "demo"])
        .args(sizes)
        .current_dir(project_file("."))
        .output()
        .unwrap();
    let (printed, shown) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed, "True 0\n", "{shown}");
}

/// The commands of a target of make.
fn recipe(target: &str) -> String {
    let mut make = Command::new("make");
    // A make that runs this test would pass its own options on.
    make.env_remove("MAKEFLAGS").env_remove("MFLAGS").env_remove("MAKELEVEL");
    let output = make.args(["--dry-run", target]).current_dir(project_file(".")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn make_checks_programs_and_arguments_before_it_builds() {
    let recipe = self::recipe("demo");
    let place = |command: &str| recipe.find(command).unwrap_or_else(|| panic!("no {command} in {recipe}"));
    assert!(place("scripts/needs rust") < place("scripts/demo --check"), "{recipe}");
    assert!(place("scripts/demo --check") < place("cargo build"), "{recipe}");
    let recipe = self::recipe("test");
    assert!(recipe.trim_start().starts_with("scripts/needs test"), "{recipe}");
    assert_eq!(recipe.lines().last(), Some("scripts/skipped --list"), "{recipe}");
}

#[test]
fn make_test_lists_each_skipped_check_once() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let script = |argument: &str| {
        let mut script = Command::new(project_file("scripts/skipped"));
        let output = script.arg(argument).env("RETOOL_SKIPPED", &list).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(script("--list"), "nothing was skipped\n");
    // A test without a program of its own, twice.
    for _ in 0..2 {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::demo::ctrl_c_ends_make_demo_with_success"])
            .env_remove("CI")
            .env("PATH", folder.path())
            .env("RETOOL_SKIPPED", &list)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    script("baton is not installed");
    let expected = "skipped on this machine:\n  baton is not installed\n  python3 is not installed\n";
    assert_eq!(script("--list"), expected);
}

#[test]
fn missing_programs_are_named_in_one_line() {
    let bin = tempfile::tempdir().unwrap();
    for (wanted, words) in [
        ("rust", &["cargo (https://rustup.rs)", "cc"][..]),
        ("test", &["cargo (https://rustup.rs)", "cc", "git", "openssl", "python3"]),
    ] {
        let output = Command::new("/bin/sh")
            .arg(project_file("scripts/needs"))
            .arg(wanted)
            .env("PATH", bin.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1, "{text}");
        for word in words {
            assert!(lines[0].contains(word), "no {word} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_supports_accounts_and_actions() {
    let mut demo = Demo::start();
    let database = demo.wait_for("export BATON_CONNECTION_STRING=");
    assert!(database.starts_with("postgres://"), "{database}");
    let api = demo.wait_for("export BATON_RETOOL_API_BASE_URL=");
    assert!(api.starts_with("http://127.0.0.1:"), "{api}");
    let serving = demo.wait_for("Serving on ");
    let address = serving.split(' ').next().unwrap();
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();

    let mut accounts = AccountManagerServiceClient::new(channel.clone());
    let created = accounts.create_account(ada()).await.unwrap().into_inner();
    let (kind, account, _) = result(&created);
    assert_eq!(kind, "success");
    let user = account.unwrap().id.unwrap().resource;
    let again = accounts.create_account(ada()).await.unwrap().into_inner();
    assert_eq!(result(&again).0, "already exists");

    let mut actions = ActionServiceClient::new(channel);
    for name in ["disable_user", "enable_user"] {
        let run = actions.invoke_action(action(name, &user)).await.unwrap().into_inner();
        assert_eq!(run.status().as_str_name(), "BATON_ACTION_STATUS_COMPLETE", "{run:?}");
    }
    demo.terminate();
    let status = demo.process.wait().unwrap();
    assert_eq!(status.code(), Some(143), "with-postgres ends as after SIGTERM");
}
