//! The defaults, and one value of everything.

use super::*;

#[test]
fn every_setting_has_its_default() {
    let settings = Setup::new().settings();
    assert_eq!(settings.connection_string.expose_secret(), DSN);
    let features = Features { skip_pages: false, skip_resources: false, skip_disabled_users: false };
    assert_eq!(settings.features, features);
    assert!(settings.rest.is_none());
    assert!(!settings.provisioning.enabled);
    assert!(!settings.ticketing);
    let server = ServerSettings {
        listen: ListenAddress::Tcp { host: "127.0.0.1".into(), port: 8080 },
        tls: None,
        auth_token_file: None,
        insecure: false,
        reflection: true,
        health_without_token: true,
        limits: LimitSettings {
            connections: 4096,
            streams: 256,
            requests: 512,
            request_bytes: 4_194_304,
            response_bytes: 4_194_304,
            header_bytes: 16384,
            deadline: Duration::from_secs(300),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            grace: Duration::from_secs(30),
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
    // One value per setting that is not its default.
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
        ("max-connections", "11"),
        ("max-streams", "12"),
        ("max-requests", "13"),
        ("max-request-bytes", "1400"),
        ("max-response-bytes", "2500000"),
        ("max-header-bytes", "1600"),
        ("request-timeout-seconds", "17"),
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
        ("log-format", "console"),
        ("log-path", "a.log,stdout"),
        ("metrics-listen", "m:22"),
        ("otel-collector-endpoint", "c:23"),
        // The certificates mean nothing besides it; they have a test of their own.
        ("otel-collector-endpoint-tls-insecure", "true"),
        ("otel-collector-endpoint-tls-cert-path", "ca.pem"),
        ("otel-collector-endpoint-tls-cert", "QUJD"),
        ("otel-tracing-disabled", "true"),
        ("otel-logging-disabled", "true"),
    ];
    assert_eq!(values.map(|(name, _)| name).to_vec(), ALL.iter().map(|s| s.name).collect::<Vec<_>>());

    let mut by_flag = Setup::bare();
    let mut by_variable = Setup::bare();
    let mut file = String::new();
    for ((name, value), setting) in values.iter().zip(ALL) {
        by_flag.flags.push(format!("--{name}={value}"));
        by_variable = by_variable.variable(&setting.variable(), value);
        file += &format!("{name}: {value}\n");
    }
    for setup in [by_flag, by_variable, Setup::bare().file(file)] {
        let settings = setup.settings();
        assert_eq!(settings.connection_string.expose_secret(), "dbname=other");
        let features = Features { skip_pages: true, skip_resources: true, skip_disabled_users: true };
        assert_eq!(settings.features, features);
        let rest = settings.rest.unwrap();
        assert_eq!(rest.base_url.as_str(), "https://retool.example.com");
        assert_eq!(rest.token.expose_secret(), "retool_01abc");
        assert_eq!(rest.timeout, Duration::from_secs(5));
        let provisioning = Provisioning { enabled: true, dry_run: true, managed_groups: false };
        assert_eq!(settings.provisioning, provisioning);
        assert!(settings.ticketing);
        let server = ServerSettings {
            listen: ListenAddress::Tcp { host: "0.0.0.0".into(), port: 9 },
            tls: Some(TlsSettings {
                certificate: "c.pem".into(),
                key: "k.pem".into(),
                client_ca: Some("ca.pem".into()),
            }),
            auth_token_file: Some("tokens".into()),
            insecure: true,
            reflection: false,
            health_without_token: false,
            limits: LimitSettings {
                connections: 11,
                streams: 12,
                requests: 13,
                request_bytes: 1400,
                response_bytes: 2_500_000,
                header_bytes: 1600,
                deadline: Duration::from_secs(17),
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
fn d36_no_request_takes_longer_than_half_a_minute_whatever_the_setting_says() {
    for (given, taken) in [("29", 29), ("30", 30), ("31", 30), ("1800", 30)] {
        let setup = Setup::new()
            .variable("BATON_RETOOL_API_BASE_URL", "https://retool.example.com")
            .variable("BATON_RETOOL_API_TOKEN", "retool_01abc")
            .variable("BATON_HTTP_TIMEOUT_SECONDS", given);
        assert_eq!(setup.settings().rest.unwrap().timeout, Duration::from_secs(taken), "{given}");
    }
}
