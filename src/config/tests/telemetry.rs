//! The settings of collectors.

use super::*;
use crate::address::HostAndPort;

const PREFIX: &str = "--otel-collector-endpoint";

fn address(host: &str, port: u16) -> Option<HostAndPort> {
    Some(HostAndPort { host: host.into(), port })
}

#[test]
fn nothing_is_collected_by_default() {
    assert_eq!(Setup::new().settings().telemetry, TelemetrySettings::default());
}

#[test]
fn accepts_the_variables_of_the_go_connector() {
    let setup = Setup::new()
        .variable("BATON_OTEL_COLLECTOR_ENDPOINT", "collector.example.com:4317")
        .variable("BATON_OTEL_TRACING_DISABLED", "true")
        .variable("BATON_OTEL_LOGGING_DISABLED", "1")
        .variable("BATON_METRICS_LISTEN", "[::1]:0");
    let telemetry = setup.settings().telemetry;
    assert_eq!(telemetry.collector, address("collector.example.com", 4317));
    assert_eq!(telemetry.metrics_listen, address("::1", 0));
    assert_eq!(telemetry.metrics_listen.unwrap().to_string(), "[::1]:0");
    assert!(telemetry.tracing_disabled && telemetry.logging_disabled);
    assert_eq!(telemetry.collector_tls, CollectorTls::SystemRoots);
}

#[test]
fn accepts_a_certificate_as_a_file_or_as_base64_text() {
    let tls = |flags: &[&str]| {
        let mut setup = Setup::new();
        setup.flags = flags.iter().map(|flag| format!("{PREFIX}-tls-{flag}")).collect();
        setup.settings().telemetry.collector_tls
    };
    assert_eq!(tls(&["cert-path=/etc/ca.pem"]), CollectorTls::File("/etc/ca.pem".into()));
    // Four bytes whose base64 needs padding and the characters that differ between the alphabets.
    for text in ["-_-_-w", "-_-_-w==", "+/+/+w", "+/+/+w=="] {
        let expected = CollectorTls::Text(vec![0xfb, 0xff, 0xbf, 0xfb]);
        assert_eq!(tls(&[&format!("cert={text}")]), expected, "{text}");
    }
    assert_eq!(tls(&["insecure"]), CollectorTls::Off);
    assert_eq!(tls(&["insecure", "cert-path=/etc/ca.pem"]), CollectorTls::Off);
}

#[test]
fn rejects_invalid_collector_settings() {
    for (flags, message) in [
        (
            vec!["=nowhere"],
            "otel-collector-endpoint (flag --otel-collector-endpoint): \"nowhere\" has no port",
        ),
        (
            vec!["=unix:/tmp/x"],
            "otel-collector-endpoint (flag --otel-collector-endpoint): unix: is the address of a socket in the file system",
        ),
        (
            vec!["=h:0"],
            "otel-collector-endpoint (flag --otel-collector-endpoint): port 0 is not a valid port",
        ),
        (
            vec!["-tls-cert=!"],
            "otel-collector-endpoint-tls-cert (flag --otel-collector-endpoint-tls-cert): the value is not base64",
        ),
        (
            vec!["-tls-cert=QUJD", "-tls-cert-path=a.pem"],
            "otel-collector-endpoint-tls-cert-path (flag --otel-collector-endpoint-tls-cert-path) and \
             otel-collector-endpoint-tls-cert are mutually exclusive: \
             set only one of them",
        ),
    ] {
        let mut setup = Setup::new();
        setup.flags = flags.iter().map(|flag| format!("{PREFIX}{flag}")).collect();
        let error = setup.error();
        assert!(error.starts_with(message), "{error}");
    }
}
