//! Settings with an invalid value: each is reported, and none is ignored.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::support::server::program;

/// No server listens on this port, and these tests need none.
const NOWHERE: &str = "host=127.0.0.1 port=1 user=baton dbname=retool sslmode=disable connect_timeout=1";

/// Client credentials of ConductorOne.
const CLIENT: [&str; 2] = ["--client-id=n@127.0.0.1:1/p", "--client-secret=a:b:v1:hunter2"];

fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    program()
        .args(arguments)
        .envs([("BATON_LOG_FORMAT", "console"), ("BATON_CONNECTION_STRING", NOWHERE)])
        .envs(variables.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The errors of a run that ends with exit code 2 and writes no file.
#[track_caller]
fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = run_in(folder.path(), arguments, variables);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?} {variables:?}: {errors}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?} has written a file");
    errors
}

const VERBS: [&str; 9] = [
    "grant-entitlement",
    "revoke-grant",
    "create-account-login",
    "create-account-email",
    "create-account-profile",
    "create-account-resource-type",
    "invoke-action",
    "delete-resource",
    "rotate-credentials",
];

#[test]
fn a_change_with_an_empty_value_is_not_a_sync() {
    for verb in VERBS {
        let flag = format!("--{verb}");
        let errors = refused(&["-p", &flag, ""], &[]);
        let expected = format!("baton-retool: {verb} (flag {flag}): the value is empty");
        assert!(errors.starts_with(&expected), "{errors}");
    }
    for switch in ["event-feed", "list-action-schemas", "create-ticket"] {
        let errors = refused(&[&format!("--{switch}=")], &[]);
        assert!(errors.contains(&format!("{switch} (flag --{switch})")), "{errors}");
    }
}

#[test]
fn a_change_of_a_resource_without_its_type_names_the_missing_flag() {
    for verb in ["delete-resource", "rotate-credentials"] {
        let errors = refused(&["-p", &format!("--{verb}=u5")], &[]);
        assert!(errors.contains(&format!("set the flag --{verb}-type")), "{errors}");
    }
}

/// Invalid settings: the arguments, the variables, and the beginning of the error.
type Invalid = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

const INVALID: [Invalid; 11] = [
    (&["--task-concurrency=x"], &[], "task-concurrency (flag --task-concurrency): \"x\" is not"),
    (&["--task-concurrency=0"], &[], "task-concurrency (flag --task-concurrency): 0 is out of range"),
    (&["--sync-resources=junk"], &[], "sync-resources (flag --sync-resources)"),
    (&[], &[("BATON_EVENT_FEED", "banana")], "event-feed (variable BATON_EVENT_FEED)"),
    (&[], &[("BATON_WORKERS", "x")], "workers (variable BATON_WORKERS)"),
    (&[], &[("BATON_GRANT_PRINCIPAL", "u5")], "grant-principal (variable BATON_GRANT_PRINCIPAL)"),
    (&[], &[("BATON_DIFF_SYNCS", "true")], "diff-syncs (variable BATON_DIFF_SYNCS)"),
    (&["--skip-grants"], &[], "skip-grants (flag --skip-grants) requires sync-resources"),
    (&[], &[("BATON_CONNECTION_STRING", "host=h sslmod=x")], "connection-string"),
    (&["--auth-token-file="], &[], "auth-token-file (flag --auth-token-file): the value is empty"),
    (&[], &[("BATON_TLS_CLIENT_CA", "")], "tls-client-ca (variable BATON_TLS_CLIENT_CA): the value is empty"),
];

#[test]
fn settings_reports_each_invalid_setting() {
    for (arguments, variables, error) in INVALID {
        let folder = tempfile::tempdir().unwrap();
        let output = run_in(folder.path(), &[&["settings"], arguments].concat(), variables);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {variables:?}: {errors}");
        assert!(errors.starts_with(&format!("baton-retool: {error}")), "{errors}");
        assert!(!output.stdout.is_empty(), "the settings are printed all the same");
        refused(arguments, variables);
    }
    let folder = tempfile::tempdir().unwrap();
    let client = ["settings", "--client-id=nobody", "--client-secret=hunter2"];
    let output = run_in(folder.path(), &client, &[]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 2), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn invalid_settings_that_a_command_does_not_use_end_it() {
    let wrong = ["--workers=abc", "--task-concurrency=0"];
    let variable = ("BATON_EVENT_FEED", "banana");
    let everywhere: [&[&str]; 4] = [&["serve"], &["sync"], &[], &CLIENT];
    for mode in everywhere {
        let errors = refused(&[mode, &wrong].concat(), &[variable]);
        for named in ["workers (flag --workers)", "task-concurrency (flag", "event-feed (variable BATON_EV"] {
            assert!(errors.contains(named), "no {named} with {mode:?}: {errors}");
        }
    }
}

#[test]
fn settings_and_errors_do_not_repeat_secrets_in_the_wrong_setting() {
    for wrong in [
        "--sync-resources=postgres://u:hunter2@h/d",
        "--sync-resources=bid:r:u:hunter2@h/d",
        "--sync-resource-types=postgres://u:hunter2@h/d",
        "--otel-collector-endpoint=http://u:hunter2@127.0.0.1:1",
        "--otel-collector-endpoint=https://h/?token=hunter2",
        "--retool-api-base-url=https://u:hunter2@h/",
        "--listen=u:hunter2@127.0.0.1:0",
        "--listen=hunter2",
        "--metrics-listen=hunter2",
        "--client-id=postgres://u:hunter2@h/d",
        "--client-id=secret-token:conductorone.com:v1:hunter2hunter2hunter2hunter2hunter2hunter2",
        "--client-id=hunter2",
        "--client-id=baton@server:hunter2@server.example.com/retool",
        "--client-id=host=h user=a@b/c password=hunter2",
        "--external-resource-entitlement-id-filter=postgres://u:hunter2@h/d",
        "--external-resource-entitlement-id-filter=host=h user=u password=hunter2",
        "--sync-resource-types=host=h user=u password=hunter2",
        "--sync-resources=u:hunter2",
        "--sync-resources=hunter2",
        "--sync-resources=bid:r:admin:hunter2",
        "--sync-resource-types=hunter2",
        "--health-check-bind-address=hunter2",
        "--health-check-bind-address=hunter2:80",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = run_in(folder.path(), &["settings", wrong], &[]);
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(printed.contains("withheld, it may be a secret"), "{wrong}: {printed}");
        assert!(!printed.contains("hunter2"), "{wrong}: {printed}");
    }
    for (wrong, expected) in [
        ("--log-level-debug-expires-at=postgres://u:hunter2@h/d", "the value is not a time"),
        ("--log-level=postgres://u:hunter2@h/d", "\"...\" is unknown"),
        ("--log-format=postgres://u:hunter2@h/d", "\"...\" is unknown"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = run_in(folder.path(), &["settings", wrong], &[]);
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(printed.contains(expected), "{wrong}: {printed}");
        assert!(!printed.contains("hunter2"), "{wrong}: {printed}");
    }
}

#[test]
fn settings_show_values_of_the_expected_form() {
    for (setting, value) in [
        ("--client-id", "happy-otter-12345@tenant.conductor.one/spc"),
        ("--external-resource-entitlement-id-filter", "group:g7:member"),
        ("--sync-resource-types", "user,group"),
        ("--sync-resources", "bid:r:group/g7"),
        ("--log-level", "debug"),
        ("--health-check-bind-address", "[::1]"),
        ("--health-check-bind-address", "probes"),
        ("--health-check-bind-address", "10.0.0.7"),
        ("--retool-api-base-url", "https://retool.example.com/base"),
        ("--retool-api-base-url", "HTTPS://[::1]:3000/~prefix/"),
        ("--metrics-listen", "127.0.0.1:9090"),
        ("--log-level-debug-expires-at", "2030-01-31T12:00:00Z"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = run_in(folder.path(), &["settings", setting, value], &[]);
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(printed.contains(value), "{setting}: {printed}");
    }
}

#[test]
fn settings_shows_ordinary_addresses_and_texts() {
    for (setting, value) in [
        ("listen", "0.0.0.0:8080"),
        ("listen", "unix:/run/retool.sock"),
        ("otel-collector-endpoint", "collector.example.com:4317"),
        ("retool-api-base-url", "https://retool.example.com"),
        ("sync-resources", "bid:r:group/g1"),
        ("client-id", "tall-tree-12345@acme.conductor.one/pcc"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = run_in(folder.path(), &["settings", &format!("--{setting}={value}")], &[]);
        let printed = String::from_utf8(output.stdout).unwrap();
        let row = printed.lines().find(|line| line.split_whitespace().next() == Some(setting));
        assert!(row.is_some_and(|row| row.contains(value)), "{printed}");
    }
}

#[test]
fn empty_protecting_settings_are_reported_with_all_other_invalid_ones() {
    let arguments =
        ["serve", "--auth-token-file=", "--tls-cert=no.pem", "--tls-key=no.pem", "--tls-client-ca="];
    let connection = ("BATON_CONNECTION_STRING", "host=h sslmod=x");
    let errors = refused(&arguments, &[connection, ("BATON_MAX_REQUESTS", "x"), ("BATON_DRY_RUN", "")]);
    assert_eq!(errors.lines().count(), 7, "{errors}");
    for named in [
        "auth-token-file (flag --auth-token-file): the value is empty",
        "tls-client-ca (flag --tls-client-ca): the value is empty",
        "dry-run (variable BATON_DRY_RUN): the value is empty",
        "max-requests (variable BATON_MAX_REQUESTS)",
        "connection-string",
        "tls-key: no.pem",
        "tls-cert: no.pem",
    ] {
        assert!(errors.contains(named), "no {named} in {errors}");
    }
}

#[test]
fn every_unusable_tls_file_is_reported_and_a_pipe_hides_no_other() {
    let folder = folder_with_files();
    let own = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    fs::write(folder.path().join("other.key"), own.signing_key.serialize_pem()).unwrap();
    let pipe = folder.path().join("pipe.pem");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (certificate, key, clients, expected) in [
        ("no.pem", "no.key", "no.crt", &["tls-key: no.key", "tls-cert: no.pem", "tls-client-ca: no.crt"][..]),
        ("own.key", "own.pem", "own.pem", &["tls-key: own.pem holds no", "tls-cert: own.key holds no"]),
        (
            "own.pem",
            "other.key",
            "own.key",
            &["tls-client-ca: own.key", "tls-cert own.pem with tls-key other.key"],
        ),
        ("pipe.pem", "no.key", "no.crt", &["tls-key: no.key", "tls-client-ca: no.crt"]),
        ("own.pem", "no.key", "pipe.pem", &["tls-key: no.key"]),
        ("no.pem", "pipe.pem", "own.pem", &["tls-cert: no.pem"]),
    ] {
        let flags = [("cert", certificate), ("key", key), ("client-ca", clients)];
        let flags = flags.map(|(name, file)| format!("--tls-{name}={file}"));
        // Without the last setting, the program would read the files, and wait for a writer of the pipe.
        let arguments =
            [&["serve"][..], &flags.each_ref().map(String::as_str), &["--max-requests=x"]].concat();
        let output = run_in(folder.path(), &arguments, &[]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert_eq!(errors.lines().count(), 1 + expected.len(), "{arguments:?}: {errors}");
        for line in expected {
            assert!(errors.contains(line), "no {line} in {errors}");
        }
    }
}

#[test]
fn doctor_reports_every_unusable_tls_file() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["doctor", "--tls-cert=no.pem", "--tls-key=no.key", "--tls-client-ca=no.crt"];
    let output = run_in(folder.path(), &flags, &[]);
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{found}");
    for error in ["tls-key: no.key", "tls-cert: no.pem", "tls-client-ca: no.crt"] {
        assert!(found.contains(error), "no {error} in {found}");
    }
}

#[test]
fn doctor_reports_each_invalid_setting() {
    for (arguments, variables, error) in INVALID {
        let folder = tempfile::tempdir().unwrap();
        let output = run_in(folder.path(), &[&["doctor"], arguments].concat(), variables);
        let found = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {variables:?}: {found}");
        let is_it = |line: &str| {
            line.strip_prefix("failed   settings").is_some_and(|rest| rest.trim_start().starts_with(error))
        };
        assert_eq!(found.lines().filter(|line| is_it(line)).count(), 1, "{error}: {found}");
    }
}

#[test]
fn a_missing_file_or_folder_ends_every_mode_with_the_same_error() {
    for (flag, error) in [
        ("--external-resource-c1z=nowhere.c1z", "external resource c1z file does not exist: nowhere.c1z"),
        ("--c1z-temp-dir=./nowhere", "c1z temp dir does not exist: ./nowhere"),
    ] {
        for mode in [&[][..], &["sync"], &CLIENT, &["-p", "--revoke-grant=group:g5:member:user:u7"]] {
            let errors = refused(&[mode, &[flag]].concat(), &[]);
            assert!(errors.contains(error), "{mode:?}: {errors}");
        }
    }
}

#[test]
fn a_missing_file_is_not_reported_as_empty() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("empty.c1z"), "").unwrap();
    for (file, error) in [("nowhere.c1z", "nowhere.c1z does not exist"), ("empty.c1z", "empty.c1z is empty")]
    {
        for arguments in [&["show", "grants"][..], &["-p", "--revoke-grant=group:g5:member:user:u7"]] {
            let output = run_in(folder.path(), &[arguments, &["-f", file]].concat(), &[]);
            let errors = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
            assert!(errors.contains(error), "{arguments:?}: {errors}");
        }
    }
}

#[test]
fn an_unknown_variable_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("BATON_PROVISION", "true"), ("BATON_TOTALLY_OTHER", "1")];
    let lines = |output: &Output| {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<String> =
            errors.lines().filter(|line| line.contains("unknown variable")).map(str::to_owned).collect();
        assert_eq!(lines.len(), 2, "{errors}");
        assert!(
            lines[0].contains("BATON_PROVISION is ignored; did you mean BATON_PROVISIONING?"),
            "{errors}"
        );
        assert!(lines[1].contains("BATON_TOTALLY_OTHER has no effect"), "{errors}");
    };
    lines(&run_in(folder.path(), &["settings"], &variables));
    lines(&run_in(folder.path(), &["--list-action-schemas"], &variables));
}

/// A setting that names a file that is read: the name in the error, the arguments and the variables of a run
/// that reads it, and the text of the error about a device without end. `FILE` stands for the file.
struct Named {
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    of_a_device: Option<&'static str>,
}

const TOO_LARGE: Option<&str> = Some("it has more than 4 MiB");

const fn named(
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
) -> Named {
    Named { name, arguments, variables, of_a_device: TOO_LARGE }
}

const NAMED: [Named; 14] = [
    named("auth-token-file", &["serve", "--auth-token-file=FILE"], &[]),
    named("tls-cert", &["serve", "--tls-cert=FILE", "--tls-key=own.key"], &[]),
    named("tls-key", &["serve", "--tls-cert=own.pem", "--tls-key=FILE"], &[]),
    named(
        "tls-client-ca",
        &["serve", "--tls-cert=own.pem", "--tls-key=own.key", "--tls-client-ca=FILE"],
        &[],
    ),
    named(
        "otel-collector-endpoint-tls-cert-path",
        &["serve", "--otel-collector-endpoint=c:1", "--otel-collector-endpoint-tls-cert-path=FILE"],
        &[],
    ),
    named(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        &["serve"],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:1"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "FILE")],
    ),
    named("template", &["--create-ticket", "--ticket-template-path=FILE"], &[]),
    named("template", &["--bulk-create-ticket", "--bulk-ticket-template-path=FILE"], &[]),
    named("servicefile", &["serve"], &[("BATON_CONNECTION_STRING", "service=s servicefile=FILE")]),
    named(
        "sslrootcert",
        &["serve"],
        &[("BATON_CONNECTION_STRING", "user=u dbname=d host=h sslmode=verify-full sslrootcert=FILE")],
    ),
    named(
        "sslcert",
        &["serve"],
        &[("BATON_CONNECTION_STRING", "user=u dbname=d host=h sslcert=FILE sslkey=own.key")],
    ),
    named(
        "sslkey",
        &["serve"],
        &[("BATON_CONNECTION_STRING", "user=u dbname=d host=h sslcert=own.pem sslkey=FILE")],
    ),
    named("config", &["serve"], &[("BATON_CONFIG_PATH", "FILE")]),
    Named {
        name: "external-resource-c1z",
        arguments: &["--external-resource-c1z=FILE"],
        variables: &[],
        of_a_device: None,
    },
];

impl Named {
    /// The errors of a run with this file, which ends with exit code 2.
    #[track_caller]
    fn refused(&self, folder: &Path, file: &str) -> String {
        let fill = |text: &&str| text.replace("FILE", file);
        let arguments: Vec<String> =
            self.arguments.iter().map(fill).chain(["--log-level=debug".to_owned()]).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let variables: Vec<_> = self.variables.iter().map(|(name, value)| (*name, fill(value))).collect();
        let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // Another test can use the default port.
        variables.push(("BATON_LISTEN", "127.0.0.1:0"));
        let output = run_in(folder, &arguments, &variables);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{} {file}: {errors}", self.name);
        let last = errors.lines().last().unwrap_or_default().to_lowercase();
        assert!(last.contains(&self.name.to_lowercase()), "{}: {errors}", self.name);
        errors
    }
}

/// A folder with a certificate and its key, and a device without end.
fn folder_with_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("own.pem"), own.cert.pem()).unwrap();
    fs::write(folder.path().join("own.key"), own.signing_key.serialize_pem()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.yaml")).unwrap();
    folder
}

#[test]
fn a_secret_in_place_of_a_path_is_not_repeated() {
    let folder = folder_with_files();
    for named in NAMED {
        let errors = named.refused(folder.path(), "correct-horse-battery");
        assert!(!errors.contains("horse"), "{}: {errors}", named.name);
    }
}

#[test]
fn a_device_without_end_is_not_read_to_the_end() {
    let folder = folder_with_files();
    for named in NAMED {
        let Some(expected) = named.of_a_device else { continue };
        let errors = named.refused(folder.path(), "zero.yaml");
        assert!(errors.contains(expected), "{}: {errors}", named.name);
    }
}
