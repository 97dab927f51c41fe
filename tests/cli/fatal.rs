//! The final message of a failed command: JSON if the log is JSON, otherwise text for people.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::server::program;

/// No server listens on this port.
const NOWHERE: &str = "host=127.0.0.1 port=1 user=baton dbname=retool sslmode=disable connect_timeout=1";

/// A client secret with the example key of RFC 8037.
const CLIENT_SECRET: &str = "--client-secret=hunter2:b:v1:eyJrdHkiOiJPS1AiLCJjcnYiOiJFZDI1NTE5IiwiZCI6Im5XR3huZV85V21DNmhFcjBrdXdzeEVSSnhXbDdNbWtaY0R1c0F4eXVmMkEiLCJ4IjoiMTFxWUFZS3hDcmZWU183VHlXUUhPZzdoY3ZQYXBpTWxyd0lhYVBjSFVSbyJ9";

/// Every command that logs, with its arguments.
const LOGGING: [(&str, &[&str]); 6] = [
    ("baton-retool", &[]),
    ("baton-retool", &["--revoke-grant=x"]),
    ("baton-retool", &["--client-id=n@127.0.0.1:1/p", CLIENT_SECRET]),
    ("baton-retool sync", &["sync"]),
    ("baton-retool serve", &["serve"]),
    ("baton-retool demo", &["demo"]),
];

fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    program()
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    run_in(tempfile::tempdir().unwrap().path(), arguments, variables)
}

/// The output on stderr, which consists of JSON only.
#[track_caller]
fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stderr).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"))).collect()
}

/// The error in a line that reports a failed command with this exit code.
#[track_caller]
fn error(line: &Value, exit_code: u8) -> &str {
    assert_eq!((&line["level"], &line["msg"]), (&json!("error"), &json!("command failed")), "{line}");
    assert_eq!(line["exit_code"], exit_code, "{line}");
    assert!(line["ts"].is_f64() && line["caller"].as_str().unwrap().starts_with("cli/fatal.rs:"), "{line}");
    line["error"].as_str().unwrap()
}

#[test]
fn an_invalid_setting_is_reported_as_json_if_the_log_is_json() {
    for (name, arguments) in LOGGING {
        for (more, variables) in [
            (&["--log-format", "json"][..], &[][..]),
            (&[], &[("BATON_LOG_FORMAT", "JSON")]),
            // JSON is the default without a terminal.
            (&[], &[]),
        ] {
            let output = run(&[arguments, &["--statement-timeout-seconds=0"], more].concat(), variables);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            let lines = lines(&output);
            let errors: Vec<&str> = lines.iter().map(|line| error(line, 2)).collect();
            assert_eq!(errors.len(), 2, "one line for each: {errors:?}");
            assert!(
                errors.iter().any(|text| text.starts_with("connection-string is required")),
                "{errors:?}"
            );
            assert!(errors.iter().any(|text| text.contains("1 to 3600")), "{errors:?}");
            assert_eq!(lines[0]["help"], format!("{name} --help"));
        }
    }
}

#[test]
fn all_invalid_settings_of_a_run_are_reported_at_once() {
    let serving: &[&str] =
        &["connection-string: sslmod ", "statement-timeout-seconds ", "metrics-listen ", "listen "];
    let syncing: &[&str] = &["workers ", "task-concurrency ", "external resource c1z file", "c1z temp dir"];
    let arguments = [
        "--connection-string=host=nowhere sslmod=x",
        "--statement-timeout-seconds=0",
        "--metrics-listen=nowhere",
        "--listen=nowhere",
        "--workers=x",
        "--task-concurrency=0",
        "--external-resource-c1z=/nowhere/a.c1z",
        "--c1z-temp-dir=/nowhere",
        "--client-id=n",
        "--client-secret=hunter2",
        "--create-account-profile=x",
        "--tls-cert=/nowhere/tls.crt",
        "--tls-key=/nowhere/tls.key",
        "--auth-token-file=/nowhere/tokens",
    ];
    let without = |left_out: &[&str]| {
        let is_kept = |argument: &&&str| !left_out.iter().any(|name| argument.starts_with(name));
        arguments.iter().filter(is_kept).copied().collect::<Vec<_>>()
    };
    let only_service = ["--client-", "--create-"];
    for (command, arguments, expected) in [
        (
            vec!["serve"],
            without(&["--create-"]),
            vec![serving, &syncing[..2], &["/nowhere/tls.key", "/nowhere/tls.crt", "/nowhere/tokens"]],
        ),
        (vec!["demo"], without(&["--create-"]), vec![serving]),
        (vec!["sync"], without(&only_service), vec![serving, syncing]),
        (vec![], without(&["--create-"]), vec![serving, syncing, &["client id", "client secret"]]),
        (vec![], without(&["--client-"]), vec![serving, syncing, &["create-account-profile "]]),
    ] {
        let output = run(&[&command[..], &arguments].concat(), &[]);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let lines = lines(&output);
        let errors: Vec<&str> = lines.iter().map(|line| error(line, 2)).collect();
        let expected: Vec<&str> = expected.concat();
        for problem in &expected {
            assert!(errors.iter().any(|text| text.contains(problem)), "{command:?} {problem}: {errors:#?}");
        }
        assert_eq!(errors.len(), expected.len(), "{command:?}: {errors:#?}");
    }
}

#[test]
fn an_unusable_connection_string_does_not_hide_an_unusable_file() {
    let serve = ["serve", "--connection-string=dbname=d sslmod=x", "--auth-token-file=/nowhere/tokens"];
    let output = run(&serve, &[]);
    let lines = lines(&output);
    let failed: Vec<&Value> = lines.iter().filter(|line| line["msg"] == "command failed").collect();
    let errors: Vec<&str> = failed.into_iter().map(|line| error(line, 2)).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("sslmod") && errors[1].contains("/nowhere/tokens"), "{errors:?}");
}

#[test]
fn an_invalid_setting_is_reported_as_text_if_the_log_is_text() {
    for (name, arguments) in LOGGING {
        let output = run(&[arguments, &["--log-format", "console"]].concat(), &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("baton-retool: connection-string is required"), "{text}");
        assert!(text.ends_with(&format!("; see `{name} --help`\n")), "{text}");
    }
}

#[test]
fn a_command_without_a_log_reports_errors_as_text() {
    for arguments in [&["settings"][..], &["health-check", "--health-check-port=1"], &["show", "grants"]] {
        let output = run(arguments, &[("BATON_LOG_FORMAT", "json"), ("BATON_LISTEN", "8080")]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0), "{arguments:?}: {text}");
        assert!(text.lines().all(|line| line.starts_with("baton-retool: ")), "{text}");
    }
}

#[test]
fn an_unreadable_configuration_file_does_not_change_the_error_format() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".baton.yaml"), "log-format: [hunter2").unwrap();
    let output = run_in(folder.path(), &["serve"], &[("BATON_LOG_FORMAT", "json")]);
    assert!(error(&lines(&output)[0], 2).contains(".baton.yaml"));
    let output = run_in(folder.path(), &["serve", "--log-format=console"], &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("baton-retool: config file "), "{text}");
    fs::write(folder.path().join(".baton.yaml"), "log-format: console\nconnection-strng: hunter2\n").unwrap();
    let output = run_in(folder.path(), &["serve"], &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].contains("unknown key connection-strng is ignored; did you mean connection-string?"),
        "{text}"
    );
    assert!(lines[1].starts_with("baton-retool: connection-string is required"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_later_failure_is_reported_as_a_log_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = ["serve", "--connection-string", NOWHERE, "--listen", &address];
    let lines = lines(&run(&serve, &[]));
    let last = lines.last().unwrap();
    assert!(error(last, 1).contains(&format!("cannot listen on {address}")), "{last}");
    assert!(last.get("help").is_none(), "{last}");

    // A log with other readers also gets the error, in its own format, and so does the user on stderr.
    for (format, log_is_json) in [("json", true), ("console", false)] {
        let folder = tempfile::tempdir().unwrap();
        let more = ["--log-path", "the.log", "--log-format", format];
        let output = run_in(folder.path(), &[&serve[..], &more].concat(), &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("baton-retool: cannot listen on") && text.lines().count() == 1, "{text}");
        let log = fs::read_to_string(folder.path().join("the.log")).unwrap();
        let last = log.lines().last().unwrap();
        assert!(last.contains("command failed") && last.contains("cannot listen on"), "{log}");
        assert_eq!(serde_json::from_str::<Value>(last).is_ok(), log_is_json, "{last}");
    }
}

#[test]
fn an_invalid_command_line_is_reported_as_text() {
    let output = run(&["serve", "--no-such-flag"], &[("BATON_LOG_FORMAT", "json")]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.starts_with("error: ") && text.contains("baton-retool serve --help"), "{text}");
}
