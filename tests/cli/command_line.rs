//! Arguments, exit codes and signals.

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use baton_retool::cli::settings_table;

use crate::support::cluster::project_file;
use crate::support::postgres::Database;
use crate::support::server::{Server, program};
use crate::support::wire::{Wire, eventually};

const NOWHERE: &str = "postgres://baton@127.0.0.1:1/retool";

/// Runs the program until it exits, in a directory without a configuration file.
fn run(prepare: impl FnOnce(&mut Command)) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut program = program();
    program.current_dir(directory.path()).stdin(Stdio::null());
    prepare(&mut program);
    let mut running = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while running.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // This has no effect on a program that has exited; a program that is still running has no exit code then.
    running.kill().unwrap();
    running.wait_with_output().unwrap()
}

fn run_with(arguments: &[&str]) -> Output {
    run(|program| {
        program.args(arguments);
    })
}

#[track_caller]
fn assert_ends(output: &Output, code: i32, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    for word in words {
        assert!(errors.contains(word), "no {word:?} in: {errors}");
    }
}

#[test]
fn help_goes_to_stdout() {
    for arguments in [&["--help"][..], &["-h"], &["serve", "--help"], &["help"]] {
        let output = run_with(arguments);
        assert_ends(&output, 0, &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("--connection-string") || text.contains("serve"), "{arguments:?}: {text}");
    }
}

/// Releases contain the ordinary program and a program for Lambda. Only the second has the command.
#[cfg(not(feature = "lambda"))]
#[test]
fn the_ordinary_program_has_no_command_lambda() {
    let output = run(|program| {
        program.arg("lambda").env("BATON_CONNECTION_STRING", NOWHERE);
    });
    assert_ends(&output, 2, &["unrecognized subcommand"]);
    assert!(output.stdout.is_empty());
    let help = String::from_utf8(run_with(&["--help-all"]).stdout).unwrap();
    assert!(help.contains("--connection-string") && !help.contains("lambda"), "{help}");
}

#[test]
fn without_a_command_and_a_connection_string_the_program_names_the_missing_setting() {
    let output = run_with(&[]);
    assert_ends(&output, 2, &["--connection-string", "BATON_CONNECTION_STRING"]);
    assert!(output.stdout.is_empty());
}

#[test]
fn invalid_arguments_and_settings_exit_with_2_and_the_reason() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["serve", "--no-such-flag"], &["--no-such-flag"]),
        (&["no-such-command"], &["unrecognized subcommand"]),
        (&["serve"], &["--connection-string", "BATON_CONNECTION_STRING", "key connection-string"]),
        (&["serve", "--connection-string", ""], &["connection-string"]),
        (&["serve", "--connection-string", "host=h dbname=d sslmode=sometimes"], &["sslmode", "verify-full"]),
        (&["serve", "--connection-string", "host=h dbname=d sslcrl=revoked.pem"], &["sslcrl"]),
        (&["serve", "--connection-string", "host=h user=u"], &["connection-string", "dbname"]),
        (
            &[
                "serve",
                "--connection-string",
                "host=h dbname=d sslmode=verify-full sslrootcert=/no/such/file",
            ],
            &["sslrootcert", "/no/such/file"],
        ),
        (
            &["serve", "--connection-string", NOWHERE, "--retool-api-token", "token-in-secret"],
            &["retool-api-base-url", "both or neither"],
        ),
        (
            &["serve", "--connection-string", NOWHERE, "--retool-api-base-url", "https://retool.example.com"],
            &["retool-api-token", "both or neither"],
        ),
        (&["serve", "--connection-string", NOWHERE, "--listen", "8080"], &["listen", "host:port"]),
        (
            &["serve", "--connection-string", NOWHERE, "--statement-timeout-seconds", "0"],
            &["statement-timeout-seconds", "1 to 3600"],
        ),
    ];
    for (arguments, words) in cases {
        let output = run_with(arguments);
        assert_ends(&output, 2, words);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("token-in-secret"));
    }
}

#[test]
fn a_password_in_an_invalid_connection_string_is_not_printed() {
    for string in [
        "postgres://baton:hunter2-hunter2@db:notaport/retool",
        "host=db dbname=retool password=hunter2-hunter2 sslmode=sometimes",
        "host=db password='hunter2-hunter2",
        "postgres://baton:hunter2-hunter2@db/retool?sslcrl=revoked.pem",
    ] {
        let output = run_with(&["serve", "--log-level", "debug", "--connection-string", string]);
        assert_ends(&output, 2, &["connection-string"]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"), "{output:?}");
    }
}

#[test]
fn an_unusable_configuration_file_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    for (path, word) in [
        (directory.path().join("missing.yaml"), "missing.yaml"),
        (file("broken.yaml", "listen: [unclosed"), "broken.yaml"),
        (file("settings.ini", "listen = 1"), ".toml"),
        (file("odd.yaml", "connection-string: postgres://u@h/d\nskip-pages: banana\n"), "skip-pages"),
    ] {
        let output = run(|program| {
            program.arg("serve").env("BATON_CONFIG_PATH", &path);
        });
        assert_ends(&output, 2, &[word]);
    }
}

#[test]
fn an_address_in_use_exits_with_1_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run_with(&["serve", "--connection-string", NOWHERE, "--listen", &address]);
    assert_ends(&output, 1, &[&address, "--listen"]);
}

#[tokio::test]
async fn a_signal_drains_the_server() {
    for signal in ["TERM", "INT"] {
        let database = Database::small().await;
        let server = Server::start(&database, &[]);
        let wire = Wire::to(&server).await;
        let mut client = database.client().await;
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute("LOCK TABLE organizations").await.unwrap();
        let call = tokio::spawn(async move { wire.organizations().await });
        database.wait_until_blocked(1).await;

        let kill = ["-c", r#"kill -"$0" "$1""#, signal, &server.process_id().to_string()];
        assert!(Command::new("sh").args(kill).status().unwrap().success());
        server.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.starts_with("stopping")));
        eventually("the end of new connections", async || TcpStream::connect(server.address()).err()).await;
        assert!(!call.is_finished(), "{signal}: the call was cut off");
        transaction.rollback().await.unwrap();
        assert_eq!(call.await.unwrap().unwrap().len(), 2, "{signal}");
        let (status, _) = server.stop();
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

// The client needs its own thread: it has to notice the stop of the server while this thread waits for the
// stop.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_with_open_connections_ends_at_once() {
    let server = Server::start_at(NOWHERE, &[]);
    let _held_open = server.channel().await;
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_settings_page_matches_the_declared_settings() {
    let page = std::fs::read_to_string(project_file("docs/settings.md")).unwrap();
    let (_, rest) = page.split_once("<!-- settings -->").expect("a mark before the table");
    let (table, _) = rest.split_once("<!-- /settings -->").expect("a mark behind the table");
    assert_eq!(table.trim(), settings_table().trim(), "copy the right-hand side into docs/settings.md");
}

#[test]
fn service_mode_variables_are_warned_about() {
    let warns = |environment: &[(&str, &str)]| {
        let server = Server::start_with(environment, NOWHERE, &[]);
        let mut lines = server.logs().into_iter();
        lines.any(|line| line["level"] == "warn" && line["msg"].as_str().unwrap().contains("BATON_CLIENT_ID"))
    };
    assert!(warns(&[("BATON_CLIENT_ID", "name@acme.example/pcc"), ("BATON_CLIENT_SECRET", "hunter2")]));
    assert!(!warns(&[("BATON_CLIENT_ID", "")]));
}
