//! The gRPC server, its limits, and the endpoints for probes.

use std::path::PathBuf;

use super::*;

fn tls(flags: &[&str]) -> Setup {
    let mut setup = Setup::new();
    setup.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    setup
}

#[test]
fn accepts_a_unix_socket_as_listener() {
    for (text, path) in [("unix:/run/a.sock", "/run/a.sock"), (" unix:a.sock\n", "a.sock")] {
        let server = Setup::new().variable("BATON_LISTEN", text).settings().server;
        assert_eq!(server.listen, Endpoint::Unix(PathBuf::from(path)));
    }
    assert_eq!(
        Setup::new().flags(["--listen=unix:"]).error(),
        "listen (flag --listen): unix: has no path; accepted: host:port, such as 127.0.0.1:8080 or \
         [::1]:8080, or unix:/path, such as unix:/run/retool.sock"
    );
}

#[test]
fn a_certificate_and_its_key_require_each_other() {
    let settings =
        tls(&["--tls-cert=c.pem", "--tls-key", " /k.pem\n"]).settings().server.security.tls.unwrap();
    let expected = TlsFiles { certificate: "c.pem".into(), key: "/k.pem".into(), client_ca: None };
    assert_eq!(settings, expected);
    for client_ca in [None, Some("--tls-client-ca=ca.pem")] {
        let with = |flag| tls(&[flag].into_iter().chain(client_ca).collect::<Vec<_>>()).error();
        assert_eq!(
            with("--tls-cert=c.pem"),
            "tls-cert (flag --tls-cert) requires tls-key: set the flag --tls-key, the variable BATON_TLS_KEY or \
             the key tls-key in the config file; accepted: both or neither"
        );
        let key = with("--tls-key=k.pem");
        assert!(key.starts_with("tls-key (flag --tls-key) requires tls-cert"), "{key}");
    }
}

#[test]
fn a_client_ca_requires_a_server_certificate() {
    let settings =
        tls(&["--tls-cert=c", "--tls-key=k", "--tls-client-ca=ca"]).settings().server.security.tls.unwrap();
    assert_eq!(settings.client_ca, Some("ca".into()));
    assert_eq!(
        Setup::new().variable("BATON_TLS_CLIENT_CA", "ca.pem").error(),
        "tls-client-ca (variable BATON_TLS_CLIENT_CA) requires tls-cert: set the flag --tls-cert, \
         the variable BATON_TLS_CERT or the key tls-cert in the config file"
    );
}

#[test]
fn rejects_a_path_that_is_not_text() {
    assert_eq!(
        Setup::new().file("auth-token-file: 7\n").error(),
        "auth-token-file (key auth-token-file of .baton.yaml): 7 is not text; accepted: the path of a file \
         (in a config file, in quotes)"
    );
}

#[test]
fn settings_that_are_on_by_default_can_be_turned_off() {
    for word in ["false", "0"] {
        let setup = Setup::new().file(format!("reflection: {word}\nhealth-without-token: {word}\n"));
        let server = setup.settings().server;
        assert!(!server.reflection && !server.security.open_health, "{word}");
    }
    let setup = Setup::new().variable("BATON_REFLECTION", "f").flags(["--reflection"]);
    assert!(setup.settings().server.reflection);
}

#[test]
fn enforces_the_bounds_of_every_number() {
    let bounds = [
        ("http-timeout-seconds", 1, 1800),
        ("snapshot-max-mib", 0, 65_536),
        ("max-connections", 1, 1_000_000),
        ("max-streams", 1, 100_000),
        ("max-requests", 1, 1_000_000),
        ("max-request-bytes", 1024, 67_108_864),
        ("max-response-bytes", 2_097_152, 67_108_864),
        ("max-header-bytes", 1024, 1_048_576),
        ("request-timeout-seconds", 1, 3600),
        ("stall-timeout-seconds", 1, 3600),
        ("keepalive-interval-seconds", 1, 3600),
        ("keepalive-timeout-seconds", 1, 3600),
        ("shutdown-grace-seconds", 0, 3600),
        ("statement-timeout-seconds", 1, 3600),
        ("connect-timeout-seconds", 1, 300),
        ("pool-wait-seconds", 1, 300),
        ("health-check-port", 0, 65535),
    ];
    // The numbers of a sync and of service mode are read separately and have their own tests. Numbers without
    // effect are hidden.
    let elsewhere = [Group::Sync, Group::Service];
    let numbers = ALL
        .iter()
        .filter(|setting| matches!(setting.kind, Kind::Whole { .. }) && !setting.hidden)
        .filter(|setting| !elsewhere.contains(&setting.group));
    assert_eq!(bounds.map(|(name, ..)| name).to_vec(), numbers.map(|s| s.name).collect::<Vec<_>>());
    for (name, min, max) in bounds {
        let with = |number: i64| Setup::new().flags([&format!("--{name}={number}")]);
        with(min).settings();
        with(max).settings();
        for number in [min - 1, max + 1] {
            let expected = format!(
                "{name} (flag --{name}): {number} is out of range; accepted: a whole number from {min} to {max}"
            );
            assert_eq!(with(number).error(), expected);
        }
    }
}

#[test]
fn health_probes_are_off_unless_enabled() {
    let setup = Setup::new().flags(["--health-check-port=9", "--health-check-bind-address=0.0.0.0"]);
    assert_eq!(setup.settings().health, None);
    let health = setup.variable("BATON_HEALTH_CHECK", "true").settings().health.unwrap();
    assert_eq!(health, HealthSettings { host: "0.0.0.0".into(), port: 9 });
    let wrong = Setup::new().flags(["--health-check-bind-address=h:80"]).error();
    assert_eq!(
        wrong,
        "health-check-bind-address (flag --health-check-bind-address): \"h:80\" is not a host; accepted: a \
         host name or an IP address, such as localhost, 127.0.0.1 or ::1"
    );
}

#[test]
fn the_health_check_command_needs_no_connection_string() {
    let read = |setup: &Setup| load_health_check(&setup.matches(), &setup.sources);
    let (health, warnings) = read(&Setup::bare()).unwrap();
    assert_eq!((health.to_string().as_str(), warnings), ("127.0.0.1:8081", vec![]));
    let setup = Setup::bare()
        .variable("BATON_HEALTH_CHECK_PORT", "9")
        .file("health-check-bind-address: '[::1]'\nhealth-chek: true\n");
    let (health, warnings) = read(&setup).unwrap();
    assert_eq!(health.to_string(), "[::1]:9");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(read(&Setup::bare().flags(["--health-check-port=x"])).is_err());
}

#[test]
fn an_empty_protecting_setting_is_an_error_in_every_source() {
    let certificate = ["--tls-cert=c", "--tls-key=k"];
    let protecting: Vec<&str> = ALL.iter().filter(|setting| setting.protects).map(|s| s.name).collect();
    assert_eq!(
        protecting,
        [
            "dry-run",
            "tls-cert",
            "tls-key",
            "tls-client-ca",
            "auth-token-file",
            "reflection",
            "health-without-token",
            "otel-collector-endpoint-tls-cert-path",
            "otel-collector-endpoint-tls-cert",
        ]
    );
    for name in protecting {
        let variable = format!("BATON_{}", name.to_ascii_uppercase().replace('-', "_"));
        for blank in ["", "  "] {
            let by_flag = Setup::new().flags([&format!("--{name}={blank}")]);
            let by_variable = Setup::new().variable(&variable, blank);
            let by_file = Setup::new().file(format!("{name}: \"{blank}\"\n"));
            for setup in [by_flag, by_variable, by_file] {
                let error = setup.error();
                assert!(error.starts_with(name) && error.contains("turn the protection off"), "{error}");
            }
        }
        let by_file = Setup::new().file(format!("{name}:\n"));
        assert!(by_file.error().contains("turn the protection off"), "{}", by_file.error());
    }
    assert!(Setup::new().flags(certificate).settings().server.security.tls.is_some());
}

#[test]
fn settings_that_are_empty_or_unreadable_are_reported_with_all_other_invalid_ones() {
    let mut setup = Setup::new()
        .flags(["--auth-token-file=", "--tls-client-ca= ", "--tls-key=k", "--max-requests=x"])
        .variable("BATON_TLS_CERT", "")
        .file("dry-run:\nworkers: x\notel-collector-endpoint-tls-cert: ''\notel-collector-endpoint-tls-cert-path: p\n");
    let unreadable = OsString::from_vec(vec![b'h', 0xff]);
    setup.sources.environment.insert("BATON_METRICS_LISTEN".into(), unreadable);
    let expected = [
        "dry-run (key dry-run of .baton.yaml): the value is empty",
        "max-requests (flag --max-requests): \"x\" is not a whole number",
        "tls-cert (variable BATON_TLS_CERT): the value is empty",
        "tls-client-ca (flag --tls-client-ca): the value is empty",
        "auth-token-file (flag --auth-token-file): the value is empty",
        "metrics-listen (variable BATON_METRICS_LISTEN): the value is not valid UTF-8",
        "otel-collector-endpoint-tls-cert (key otel-collector-endpoint-tls-cert of .baton.yaml): the value is empty",
    ];
    let assert_reported = |error: &str, expected: &[&str]| {
        assert_eq!(error.lines().count(), expected.len(), "{error}");
        for text in expected {
            assert!(error.lines().any(|line| line.starts_with(text)), "no {text:?} in {error}");
        }
    };
    assert_reported(&setup.error(), &expected);
    let run = |run| check_run(run, &setup.matches(), &setup.sources).unwrap_err().to_string();
    let directory = format!("{}/", setup.directory.path().display());
    assert_reported(&run(Run::ServeOwn).replace(&directory, ""), &expected);
    let with_unused =
        [&expected[..], &["workers (key workers of .baton.yaml): \"x\" is not a whole number"]].concat();
    for run_of_user in [Run::Serve, Run::Sync] {
        assert_reported(&run(run_of_user).replace(&directory, ""), &with_unused);
    }
    // The values are still shown by the command that shows all settings.
    assert!(load_in_force(&setup.matches(), &setup.sources).is_ok());
}

#[test]
fn an_empty_setting_is_an_error_even_if_another_one_overrides_it() {
    let setup = Setup::new()
        .flags(["--otel-collector-endpoint-tls-insecure", "--otel-collector-endpoint-tls-cert-path="]);
    assert!(setup.error().contains("turn the protection off"), "{}", setup.error());
}

#[test]
fn errors_never_show_a_value_that_may_be_a_secret() {
    const SECRET: &str = "S3cret-of-ours";
    for value in [
        format!("https://u:{SECRET}@collector:4317"),
        format!("u:{SECRET}@collector"),
        format!("u:{SECRET}"),
        format!("postgres://u:{SECRET}@h/db"),
        format!("unix://u:{SECRET}@h"),
        format!("[{SECRET}]:1"),
        SECRET.to_owned(),
    ] {
        for name in [
            "listen",
            "otel-collector-endpoint",
            "metrics-listen",
            "skip-pages",
            "max-requests",
            "log-level",
            "health-check-bind-address",
        ] {
            // Any name is a valid host.
            if name == "health-check-bind-address" && value == SECRET {
                continue;
            }
            let setup = Setup::new().flags([&format!("--{name}={value}"), "--health-check"]);
            let said = match name {
                "log-level" => setup.warnings().join("\n"),
                _ => setup.error(),
            };
            assert!(said.contains(name) && !said.contains(SECRET), "{said}");
        }
    }
}

#[test]
fn a_path_that_may_be_a_secret_is_not_logged() {
    let paths =
        ALL.iter().filter(|setting| matches!(setting.kind, Kind::Path) && setting.group != Group::Change);
    for name in paths.map(|setting| setting.name) {
        let mut setup = Setup::new().flags([&format!("--{name}=correct-horse-battery")]);
        setup.flags.extend(match name {
            "tls-cert" => vec!["--tls-key=k".to_owned()],
            "tls-key" => vec!["--tls-cert=c".to_owned()],
            "tls-client-ca" => vec!["--tls-key=k".to_owned(), "--tls-cert=c".to_owned()],
            _ => vec![],
        });
        let settings = setup.settings();
        let logged = settings.provenance.iter().find(|setting| setting.name == name).unwrap();
        assert!(logged.value.to_string().contains("withheld"), "{name}: {}", logged.value);
    }
}
