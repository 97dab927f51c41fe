//! The defaults, and one value of every setting.

use super::*;
use crate::address::HostAndPort;
use crate::config::table;

#[test]
fn every_setting_has_its_default() {
    let settings = Setup::new().settings();
    assert_eq!(settings.connection_string.expose_secret(), DSN);
    let scope = Scope { skip_pages: false, skip_resources: false, provisioning: false, managed_groups: true };
    assert_eq!(settings.scope, scope);
    let options =
        Options { skip_disabled_users: false, dry_run: false, ticketing: false, snapshot_max_mib: 96 };
    assert_eq!(settings.options, options);
    assert!(settings.rest.is_none());
    let server = ServerSettings {
        listen: Endpoint::Tcp { host: "127.0.0.1".into(), port: 8080 },
        security: Security { tls: None, token_file: None, open_health: true, insecure: false },
        reflection: true,
        limits: Limits {
            connections: 512,
            streams: 256,
            requests: 512,
            request_bytes: 1_048_576,
            response_bytes: 4_194_304,
            header_bytes: 16384,
            deadline: Duration::from_secs(300),
            stall: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            grace: Duration::from_secs(25),
        },
    };
    assert_eq!(settings.server, server);
    assert_eq!(settings.health, None);
    assert_eq!(settings.timeouts, timeouts(60, 10, 10));
    let paths = vec![LogTarget::Stderr];
    assert_eq!(settings.logs, LogSettings { level: LogLevel::Info, format: LogFormat::Json, paths });
}

#[test]
fn every_setting_is_read_from_every_source() {
    // One value per setting, different from its default.
    let values = [
        ("connection-string", "dbname=other"),
        ("skip-pages", "true"),
        ("skip-resources", "true"),
        ("skip-disabled-users", "true"),
        ("retool-api-base-url", "https://retool.example.com"),
        ("retool-api-token", "retool_01abc"),
        ("provisioning", "true"),
        ("dry-run", "true"),
        ("managed-groups", "false"),
        ("http-timeout-seconds", "5"),
        ("ticketing", "true"),
        ("client-id", "name@acme.example.com/pcc"),
        ("client-secret", "a:b:v1:c"),
        ("task-concurrency", "7"),
        ("file", "other.c1z"),
        ("sync-resource-types", "user,org"),
        ("sync-resources", "bid:r:group/g1"),
        ("skip-entitlements-and-grants", "true"),
        ("skip-grants", "true"),
        ("skip-full-sync", "true"),
        ("workers", "3"),
        ("parallel-sync", "true"),
        ("c1z-temp-dir", "spool"),
        ("keep-sync-count", "5"),
        ("skip-cleanup", "true"),
        ("external-resource-c1z", "directory.c1z"),
        ("external-resource-entitlement-id-filter", "group:g1:member"),
        ("listen", "0.0.0.0:9"),
        ("tls-cert", "c.pem"),
        ("tls-key", "k.pem"),
        ("tls-client-ca", "ca.pem"),
        ("auth-token-file", "tokens"),
        ("insecure", "true"),
        ("reflection", "false"),
        ("health-without-token", "false"),
        ("snapshot-max-mib", "10"),
        ("max-connections", "11"),
        ("max-streams", "12"),
        ("max-requests", "13"),
        ("max-request-bytes", "1400"),
        ("max-response-bytes", "2500000"),
        ("max-header-bytes", "1600"),
        ("request-timeout-seconds", "17"),
        ("stall-timeout-seconds", "20"),
        ("keepalive-interval-seconds", "18"),
        ("keepalive-timeout-seconds", "19"),
        ("shutdown-grace-seconds", "0"),
        ("statement-timeout-seconds", "7"),
        ("connect-timeout-seconds", "8"),
        ("pool-wait-seconds", "9"),
        ("health-check", "true"),
        ("health-check-port", "21"),
        ("health-check-bind-address", "0.0.0.0"),
        ("log-level", "debug"),
        ("log-level-debug-expires-at", "2999-01-31T12:00:00Z"),
        ("log-format", "console"),
        ("log-path", "a.log,stdout"),
        ("metrics-listen", "m:22"),
        ("otel-collector-endpoint", "c:23"),
        // The certificates have no effect next to it; they have their own test.
        ("otel-collector-endpoint-tls-insecure", "true"),
        ("otel-collector-endpoint-tls-cert-path", "ca.pem"),
        ("otel-collector-endpoint-tls-cert", "QUJD"),
        ("otel-tracing-disabled", "true"),
        ("otel-logging-disabled", "true"),
    ];
    // One-shot changes and settings without effect have their own tests.
    let used = ALL.iter().filter(|s| {
        s.group != Group::Change && matches!(s.status, SettingStatus::Used | SettingStatus::Deprecated(_))
    });
    assert_eq!(values.map(|(name, _)| name).to_vec(), used.map(|s| s.name).collect::<Vec<_>>());

    let mut by_flag = Setup::bare();
    let mut by_variable = Setup::bare();
    let mut file = String::new();
    for (name, value) in values {
        let setting = table::named(name).unwrap();
        by_flag.flags.push(format!("--{name}={value}"));
        by_variable = by_variable.variable(&setting.variable(), value);
        file += &format!("{name}: {value}\n");
    }
    // Files of Kubernetes and output of commands often end with a line end.
    let mut with_line_ends = Setup::bare();
    for (name, value) in values.iter().filter(|(name, _)| *name != "connection-string") {
        let setting = table::named(name).unwrap();
        if setting.kind != Kind::Text {
            with_line_ends = with_line_ends.variable(&setting.variable(), &format!(" {value}\n"));
        } else {
            with_line_ends = with_line_ends.variable(&setting.variable(), value);
        }
    }
    let with_line_ends = with_line_ends.variable("BATON_CONNECTION_STRING", "dbname=other");
    for setup in [by_flag, by_variable, Setup::bare().file(file), with_line_ends] {
        let (settings, _) = setup.load().unwrap();
        assert_eq!(settings.connection_string.expose_secret(), "dbname=other");
        let scope =
            Scope { skip_pages: true, skip_resources: true, provisioning: true, managed_groups: false };
        assert_eq!(settings.scope, scope);
        let options =
            Options { skip_disabled_users: true, dry_run: true, ticketing: true, snapshot_max_mib: 10 };
        assert_eq!(settings.options, options);
        let rest = settings.rest.unwrap();
        assert_eq!(rest.base_url.as_str(), "https://retool.example.com");
        assert_eq!(rest.token.expose_secret(), "retool_01abc");
        assert_eq!(rest.timeout, Duration::from_secs(5));
        let server = ServerSettings {
            listen: Endpoint::Tcp { host: "0.0.0.0".into(), port: 9 },
            security: Security {
                tls: Some(TlsFiles {
                    certificate: "c.pem".into(),
                    key: "k.pem".into(),
                    client_ca: Some("ca.pem".into()),
                }),
                token_file: Some("tokens".into()),
                open_health: false,
                insecure: true,
            },
            reflection: false,
            limits: Limits {
                connections: 11,
                streams: 12,
                requests: 13,
                request_bytes: 1400,
                response_bytes: 2_500_000,
                header_bytes: 1600,
                deadline: Duration::from_secs(17),
                stall: Duration::from_secs(20),
                keepalive_interval: Duration::from_secs(18),
                keepalive_timeout: Duration::from_secs(19),
                grace: Duration::ZERO,
            },
        };
        assert_eq!(settings.server, server);
        assert_eq!(settings.health, Some(HealthSettings { host: "0.0.0.0".into(), port: 21 }));
        assert_eq!(settings.timeouts, timeouts(7, 8, 9));
        let paths = vec![LogTarget::File("a.log".into()), LogTarget::Stdout];
        let logs = LogSettings { level: LogLevel::Debug, format: LogFormat::Console, paths };
        assert_eq!(settings.logs, logs);
        let telemetry = TelemetrySettings {
            collector: Some(HostAndPort { host: "c".into(), port: 23 }),
            collector_tls: CollectorTls::Off,
            tracing_disabled: true,
            logging_disabled: true,
            metrics_listen: Some(HostAndPort { host: "m".into(), port: 22 }),
        };
        assert_eq!(settings.telemetry, telemetry);
    }
}

#[test]
fn the_http_timeout_is_at_most_30_seconds() {
    for (given, taken) in [("29", 29), ("30", 30), ("31", 30), ("1800", 30)] {
        let setup = Setup::new()
            .variable("BATON_RETOOL_API_BASE_URL", "https://retool.example.com")
            .variable("BATON_RETOOL_API_TOKEN", "retool_01abc")
            .variable("BATON_HTTP_TIMEOUT_SECONDS", given);
        assert_eq!(setup.settings().rest.unwrap().timeout, Duration::from_secs(taken), "{given}");
    }
}

#[test]
fn the_origin_of_every_value_is_known() {
    let setup = Setup::new().flags(["--skip-pages"]).file("Log-Path: [a.log, stdout]\n");
    let provenance = setup.settings().provenance;
    let names: Vec<_> = provenance.iter().map(|in_force| in_force.name).collect();
    assert_eq!(names, ALL.iter().map(|setting| setting.name).collect::<Vec<_>>());
    let found = |name: &str| {
        let in_force = provenance.get(name).unwrap();
        (in_force.value.clone(), in_force.origin.to_string())
    };
    let text = |text: &str| Shown::Text(text.to_owned());
    assert_eq!(found("skip-pages"), (text("true"), "flag --skip-pages".into()));
    assert_eq!(found("connection-string"), (Shown::Secret, "variable BATON_CONNECTION_STRING".into()));
    let file = setup.directory.path().join(".baton.yaml");
    assert_eq!(found("log-path"), (text("a.log,stdout"), format!("key Log-Path of {}", file.display())));
    assert_eq!(found("statement-timeout-seconds"), (text("60"), "default".into()));
    assert_eq!(found("log-format"), (text("json"), "default".into()));
    assert_eq!(found("tls-cert"), (Shown::Unset, "default".into()));
    assert_eq!(provenance.get("no-such-setting"), None);
}

#[test]
fn an_overruled_setting_counts_as_not_set() {
    let prefix = "--otel-collector-endpoint-tls";
    let setup = Setup::new().flags([
        &format!("{prefix}-insecure"),
        &format!("{prefix}-cert=not base64"),
        &format!("{prefix}-cert-path=a.pem"),
    ]);
    let provenance = setup.settings().provenance;
    for name in ["otel-collector-endpoint-tls-cert", "otel-collector-endpoint-tls-cert-path"] {
        assert_eq!(provenance.get(name).unwrap().value, Shown::Unset, "{name}");
    }
}

#[test]
fn relations_name_existing_settings_and_are_mutual() {
    for setting in ALL {
        let named = match setting.relation {
            Some(Relation::GoesWith(name)) => {
                let other = table::named(name).unwrap().relation;
                assert_eq!(other, Some(Relation::GoesWith(setting.name)));
                Some(name)
            }
            Some(Relation::Needs(name) | Relation::Excludes(name)) => Some(name),
            None => None,
        };
        for name in named.into_iter().chain(setting.overruled_by) {
            assert!(table::named(name).is_some(), "{}: {name}", setting.name);
        }
    }
}
