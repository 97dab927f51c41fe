//! `make demo`: rejected arguments, and the features of the demo.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use baton_retool::proto::connector::account_manager_service_client::AccountManagerServiceClient;
use baton_retool::proto::connector::action_service_client::ActionServiceClient;
use tonic::transport::Channel;

use crate::support::cluster::project_file;
use crate::support::stage::{action, ada, result};

fn demo_script(arguments: &[&str]) -> Command {
    let mut script = Command::new(project_file("scripts/demo"));
    script.args(arguments);
    script
}

/// The demo as run by `make demo`; stopped when dropped.
struct Demo {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Demo {
    fn start() -> Self {
        // Cargo builds examples for a test run only if the command names no target.
        let build =
            Command::new(env!("CARGO")).args(["build", "--example", "retool-api-double"]).status().unwrap();
        assert!(build.success(), "the double of Retool's REST API was not built");
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
