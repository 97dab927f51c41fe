//! Every flag and command of the Go connector, and its effect in this program.

use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::server::program;

/// No server listens on this port, and these tests need none.
const NOWHERE: &str = "host=127.0.0.1 port=1 user=baton dbname=retool sslmode=disable connect_timeout=1";

/// The effect of a flag.
enum Does {
    /// It is the setting with the same name, with this value.
    Sets(&'static str),
    /// The same, but the value is not shown.
    Keeps(&'static str),
    /// It is accepted with this value and has no effect; a warning gives the reason.
    Nothing(&'static str),
    /// It is accepted with this value; a warning names its replacement.
    Gives(&'static str, &'static str),
}

use Does::{Gives, Keeps, Nothing, Sets};

const SETTINGS: &[(&str, Does)] = &[
    ("connection-string", Keeps(NOWHERE)),
    ("skip-pages", Sets("true")),
    ("skip-resources", Sets("true")),
    ("skip-disabled-users", Sets("true")),
    ("retool-api-base-url", Sets("https://retool.example.com")),
    ("retool-api-token", Keeps("hunter2")),
    ("file", Sets("other.c1z")),
    ("provisioning", Sets("true")),
    ("ticketing", Sets("true")),
    ("skip-full-sync", Sets("true")),
    ("workers", Sets("-1")),
    ("parallel-sync", Gives("true", "workers")),
    ("task-concurrency", Sets("100")),
    ("client-id", Sets("name@acme.example.com/pcc")),
    ("client-secret", Keeps("hunter2")),
    ("auth-method", Nothing("none")),
    ("sync-resources", Sets("bid:r:group/g1")),
    ("sync-resource-types", Sets("user,group")),
    ("skip-entitlements-and-grants", Sets("true")),
    ("skip-grants", Sets("true")),
    ("external-resource-c1z", Sets("a.c1z")),
    ("external-resource-entitlement-id-filter", Sets("group:g1:member")),
    ("external-resource-traits", Nothing("user")),
    ("storage-engine", Nothing("pebble")),
    ("keep-previous-sync-c1z", Nothing("true")),
    ("log-level", Sets("debug")),
    ("log-format", Sets("console")),
    ("log-path", Sets("stderr")),
    ("log-level-debug-expires-at", Sets("2999-01-31T12:00:00Z")),
    ("http-timeout-seconds", Sets("1800")),
    ("health-check", Sets("true")),
    ("health-check-port", Sets("8082")),
    ("health-check-bind-address", Sets("0.0.0.0")),
    ("otel-collector-endpoint", Sets("collector:4317")),
    ("otel-collector-endpoint-tls-cert-path", Sets("ca.pem")),
    ("otel-collector-endpoint-tls-cert", Sets("QUJD")),
    ("otel-collector-endpoint-tls-insecure", Sets("true")),
    ("otel-tracing-disabled", Sets("true")),
    ("otel-logging-disabled", Sets("true")),
    ("c1z-temp-dir", Sets("./spool")),
    ("session-store-maximum-size", Nothing("15728640")),
];

/// The result of a run with these flags: the exit code and text on stderr, or on stdout for 0.
const VERBS: &[(&[&str], i32, &str)] = &[
    (
        &["--grant-entitlement=x", "--grant-principal=u5", "--grant-principal-type=user"],
        1,
        "no entitlement has the id \"x\"",
    ),
    (&["--grant-entitlement=x", "--grant-principal=u5"], 2, "grant-principal-type"),
    (&["--revoke-grant=x"], 1, "no grant has the id \"x\""),
    (&["--create-account-login=a", "--create-account-resource-type=user"], 1, "provisioning"),
    (&["--create-account-email=a@example.com", "--create-account-profile={}"], 1, "provisioning"),
    (&["--create-account-profile=[]"], 2, "JSON object"),
    (
        &["--invoke-action=enable_user", "--invoke-action-args={}", "--invoke-action-resource-type=user"],
        1,
        "provisioning",
    ),
    (&["--list-action-schemas"], 0, "disable_user"),
    (&["--list-action-schemas", "--list-action-schemas-resource-type=user"], 0, "no actions"),
    (&["--delete-resource=u5", "--delete-resource-type=user"], 1, "provisioning"),
    (&["-p", "--delete-resource=u5", "--delete-resource-type=user"], 1, "Unimplemented"),
    (&["--rotate-credentials=u5", "--rotate-credentials-type=user"], 1, "provisioning"),
    (&["-p", "--rotate-credentials=u5", "--rotate-credentials-type=user"], 1, "Unimplemented"),
    (&["--event-feed", "true"], 1, "baton_feed_event"),
    (
        &[
            "--event-feed",
            "--event-feed-id=a",
            "--event-feed-start-at=2026-01-31T12:00:00Z",
            "--event-feed-cursor=c",
        ],
        1,
        "NotFound",
    ),
    (&["--event-feed=banana"], 2, "true"),
    (&["--list-ticket-schemas"], 1, "Unimplemented"),
    (&["--create-ticket", "--ticket-template-path=/no/such/file"], 2, "/no/such/file"),
    (&["--create-ticket"], 2, "ticket-template-path"),
    (&["--bulk-create-ticket", "--bulk-ticket-template-path=/no/such/file"], 2, "/no/such/file"),
    (&["--get-ticket", "--ticket-id=t1"], 1, "Unimplemented"),
    (&["--diff-syncs", "--base-sync-id=a", "--applied-sync-id=b"], 2, "does not compare syncs"),
    (&["--base-sync-id=a"], 2, "does not compare syncs"),
    (&["--applied-sync-id=a"], 2, "does not compare syncs"),
    (&["--compact-syncs"], 2, "does not merge syncs"),
    (&["--compact-sync-ids=a"], 2, "does not merge syncs"),
    (&["--compact-file-paths=a"], 2, "does not merge syncs"),
    (&["--compact-output-path=a"], 2, "does not merge syncs"),
    (&["--list-resource-actions=user"], 2, "no actions of a resource type"),
    (&["--invoke-resource-action=a"], 2, "no actions of a resource type"),
    (&["--log-event-log=a"], 2, "--log-path"),
    (&["--revoke-grant=x", "--event-feed"], 2, "mutually exclusive"),
];

/// The output of the commands on stdout.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["capabilities"], "ConnectorCapabilities"),
    (&["config"], "\"fields\""),
    (&["completion", "bash"], "complete -F"),
    (&["completion", "zsh"], "#compdef baton-retool"),
    (&["completion", "fish"], "complete -c baton-retool"),
    (&["completion", "powershell"], "Register-ArgumentCompleter"),
    (&["completion", "bash", "--no-descriptions"], "complete -F"),
    (&["help"], "Usage: baton-retool"),
    (&["help", "health-check"], "Usage: baton-retool health-check"),
    (&["health-check", "--help"], "--endpoint"),
    (&["-h"], "Usage: baton-retool"),
    (&["-v"], "baton-retool version "),
    (&["--version"], "baton-retool version "),
];

fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    program().args(arguments).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_flag_of_the_go_connector_is_accepted() {
    for (name, does) in SETTINGS {
        let (Sets(value) | Keeps(value) | Nothing(value) | Gives(value, _)) = does;
        let flag = format!("--{name}={value}");
        let output = run(&["settings", "--given", "--output", "json", &flag]);
        let errors = text(&output.stderr);
        let settings: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{flag}: {errors}"));
        let found = settings.as_array().unwrap().iter().find(|one| one["setting"] == *name);
        let found = found.unwrap_or_else(|| panic!("{name} is not in force: {settings}"));
        assert_eq!(found["from"], format!("flag --{name}"));
        match does {
            Sets(value) | Nothing(value) | Gives(value, _) => assert_eq!(found["value"], *value, "{name}"),
            Keeps(_) => {
                assert_eq!((&found["value"], &found["secret"]), (&Value::Null, &Value::Bool(true)), "{name}")
            }
        }
        let of_it: Vec<_> = errors.lines().filter(|line| line.contains(&format!("{name} (flag"))).collect();
        match does {
            Sets(_) | Keeps(_) => assert!(!errors.contains("warning"), "{name}: {errors}"),
            Nothing(_) => {
                assert!(of_it.iter().any(|line| line.contains("has no effect: ")), "{name}: {errors}")
            }
            Gives(_, instead) => {
                assert!(
                    of_it.iter().any(|line| line.ends_with(&format!("is deprecated: use {instead}"))),
                    "{errors}"
                );
            }
        }
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn short_flags_set_their_settings() {
    let output = run(&["settings", "--given", "--output", "json", "-p", "-f", "other.c1z"]);
    let settings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let given: Vec<_> =
        settings.as_array().unwrap().iter().map(|one| one["setting"].as_str().unwrap()).collect();
    assert_eq!(given, ["provisioning", "file"]);
}

#[test]
fn every_change_and_query_ends_with_the_expected_result() {
    for (flags, code, words) in VERBS {
        let mut all = flags.to_vec();
        all.extend(["--connection-string", NOWHERE, "--log-format=console"]);
        let output = run(&all);
        let (out, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(*code), "{flags:?}: {errors}");
        let (stream, silent) = if *code == 0 { (&out, "") } else { (&errors, out.as_str()) };
        assert!(stream.contains(words), "{flags:?}: no {words:?} in: {stream}");
        assert_eq!(silent, "", "{flags:?}");
        if *code != 0 {
            let reasons = errors.lines().filter(|line| line.starts_with("baton-retool: ")).count();
            assert_eq!(reasons, 1, "{flags:?}: {errors}");
        }
    }
}

#[test]
fn commands_refuse_flags_for_a_one_shot_change() {
    for command in ["serve", "sync", "capabilities", "doctor", "show"] {
        let arguments: &[&str] = match command {
            "show" => &["show", "grants", "--revoke-grant=x"],
            _ => &[command, "--revoke-grant=x", "--connection-string", NOWHERE],
        };
        let output = run(arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {errors}");
        assert!(errors.contains("--revoke-grant is for a run without a command"), "{errors}");
    }
}

#[test]
fn every_command_exists() {
    for (arguments, words) in COMMANDS {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains(words), "{arguments:?}");
    }
    let output = run(&["health-check", "--health-check-port=1", "--timeout=1"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}
