//! The declaration of the operational settings: port, limits, timeouts, probes, logs and telemetry.

use crate::config::declaration::{path, seconds, switch, text, whole};
use crate::config::setting::{DefaultValue, Fallback, Group, Kind, Relation, Setting};
use crate::connector::Options;
use crate::postgres::pool::Timeouts;
use crate::server::{Endpoint, HealthSettings, Limits, Security, ServerSettings};
use crate::telemetry::settings::{LogFormat, LogLevel, LogTarget};

const MIB: u32 = 1024 * 1024;

/// The settings for the listener, the limits of callers, the timeouts of the database, and logs.
pub(super) const OPERATION: &[Setting] = &[
    Setting {
        kind: Kind::SocketAddress,
        fallback: Fallback::Value(DefaultValue::Text(Endpoint::DEFAULT)),
        value_name: "ADDRESS",
        ..text(
            "listen",
            Group::Server,
            "Where the gRPC server accepts connections: host:port, or unix:/path for a socket file",
        )
    },
    Setting {
        relation: Some(Relation::GoesWith("tls-key")),
        protects: true,
        ..path(
            "tls-cert",
            Group::Server,
            "PEM file with the server's certificate and those between it and its CA; goes with tls-key",
        )
    },
    Setting {
        relation: Some(Relation::GoesWith("tls-cert")),
        protects: true,
        ..path(
            "tls-key",
            Group::Server,
            "PEM file with the private key of the server's certificate; goes with tls-cert",
        )
    },
    Setting {
        relation: Some(Relation::Needs("tls-cert")),
        protects: true,
        ..path(
            "tls-client-ca",
            Group::Server,
            "PEM file with the CAs one of which must have signed a caller's certificate; needs tls-cert",
        )
    },
    Setting {
        protects: true,
        ..path(
            "auth-token-file",
            Group::Server,
            "File with the bearer tokens that callers may present, one on each line",
        )
    },
    switch(
        "insecure",
        Group::Server,
        Security::DEFAULT.insecure,
        "Accept unencrypted connections on an address that other machines reach",
    ),
    switch(
        "reflection",
        Group::Server,
        ServerSettings::REFLECTION,
        "Tell callers by gRPC reflection which calls there are",
    ),
    switch(
        "health-without-token",
        Group::Server,
        Security::DEFAULT.open_health,
        "Answer gRPC health checks, and nothing else, to callers without a token",
    ),
    whole(
        "snapshot-max-mib",
        Group::Limits,
        (0, 64 * 1024),
        Options::DEFAULT.snapshot_max_mib as usize,
        "MIB",
        "Memory in MiB for the snapshots of access that answer syncs, all together; 0 answers them by statements",
    ),
    whole(
        "max-connections",
        Group::Limits,
        (1, 1_000_000),
        Limits::DEFAULT.connections,
        "COUNT",
        "How many connections may be open at a time; one more takes the place of one without calls",
    ),
    whole(
        "max-streams",
        Group::Limits,
        (1, 100_000),
        Limits::DEFAULT.streams as usize,
        "COUNT",
        "How many calls one connection may have under way; more wait in the caller",
    ),
    whole(
        "max-requests",
        Group::Limits,
        (1, 1_000_000),
        Limits::DEFAULT.requests,
        "COUNT",
        "How many calls may be under way on all connections together; one more is refused as Unavailable",
    ),
    whole(
        "max-request-bytes",
        Group::Limits,
        (1024, 64 * MIB),
        Limits::DEFAULT.request_bytes,
        "BYTES",
        "Size of the largest request message that is read; page tokens may add 1 MiB",
    ),
    whole(
        "max-response-bytes",
        Group::Limits,
        // A page of a listing is filled up to 2 MiB, whatever the value of this setting.
        (2 * MIB, 64 * MIB),
        Limits::DEFAULT.response_bytes,
        "BYTES",
        "Size of the largest answer that is sent; pages of listings need 2 MiB",
    ),
    whole(
        "max-header-bytes",
        Group::Limits,
        (1024, MIB),
        Limits::DEFAULT.header_bytes as usize,
        "BYTES",
        "Size of all headers of a call together",
    ),
    seconds(
        "request-timeout-seconds",
        Group::Limits,
        (1, 3600),
        Limits::DEFAULT.deadline,
        "How long a call may take; a shorter grpc-timeout of the caller wins",
    ),
    seconds(
        "stall-timeout-seconds",
        Group::Limits,
        (1, 3600),
        Limits::DEFAULT.stall,
        "How long a caller may leave a request unfinished or an answer untaken without any progress",
    ),
    seconds(
        "keepalive-interval-seconds",
        Group::Limits,
        (1, 3600),
        Limits::DEFAULT.keepalive_interval,
        "How long a connection may be silent before the server asks whether the caller is still there",
    ),
    seconds(
        "keepalive-timeout-seconds",
        Group::Limits,
        (1, 3600),
        Limits::DEFAULT.keepalive_timeout,
        "How long the caller has to answer that before the connection is closed",
    ),
    seconds(
        "shutdown-grace-seconds",
        Group::Limits,
        (0, 3600),
        Limits::DEFAULT.grace,
        "How long calls under way may go on once the program has been told to stop",
    ),
    seconds(
        "statement-timeout-seconds",
        Group::Database,
        (1, 3600),
        Timeouts::DEFAULT.statement,
        "How long one SQL statement may run before the database cancels it",
    ),
    seconds(
        "connect-timeout-seconds",
        Group::Database,
        (1, 300),
        Timeouts::DEFAULT.connect,
        "How long to wait for a new database connection; connect_timeout in the connection string wins",
    ),
    seconds(
        "pool-wait-seconds",
        Group::Database,
        (1, 300),
        Timeouts::DEFAULT.pool,
        "How long a call waits for a database connection that other calls have in use",
    ),
    switch(
        "health-check",
        Group::Health,
        false,
        "Answer probes over plain HTTP, at /health, /ready and /live",
    ),
    whole(
        "health-check-port",
        Group::Health,
        (0, 65535),
        HealthSettings::PORT as usize,
        "PORT",
        "Port on which probes are answered",
    ),
    Setting {
        kind: Kind::Host,
        fallback: Fallback::Value(DefaultValue::Text(HealthSettings::HOST)),
        value_name: "HOST",
        hidden: true,
        ..text("health-check-bind-address", Group::Health, "Address on which probes are answered")
    },
    Setting {
        kind: Kind::Choice(&["debug", "info", "warn", "error", "dpanic", "panic", "fatal"]),
        fallback: Fallback::Value(DefaultValue::Text(LogLevel::DEFAULT)),
        value_name: "LEVEL",
        ..text("log-level", Group::Logs, "Lowest level that is logged; dpanic, panic and fatal mean error")
    },
    Setting {
        kind: Kind::Time,
        value_name: "TIME",
        hidden: true,
        ..text(
            "log-level-debug-expires-at",
            Group::Logs,
            "From when on a start with log-level debug logs at info instead",
        )
    },
    Setting {
        kind: Kind::Choice(&["json", "console"]),
        fallback: Fallback::Depends {
            text: "console on a terminal, else json",
            value: |sources| Some(LogFormat::default_on(sources.stdout_is_terminal).to_owned()),
        },
        value_name: "FORMAT",
        ..text("log-format", Group::Logs, "Shape of a log line")
    },
    Setting {
        kind: Kind::LogTargets,
        fallback: Fallback::Value(DefaultValue::Text(LogTarget::DEFAULT)),
        value_name: "PATH",
        ..text(
            "log-path",
            Group::Logs,
            "File that log lines are appended to, or stderr or stdout; repeat it or use commas for more",
        )
    },
    Setting {
        kind: Kind::HostAndPort,
        value_name: "ADDRESS",
        ..text(
            "metrics-listen",
            Group::Telemetry,
            "Where Prometheus finds the metrics over plain HTTP, at /metrics",
        )
    },
    Setting {
        kind: Kind::HostAndPort,
        value_name: "ADDRESS",
        ..text(
            "otel-collector-endpoint",
            Group::Telemetry,
            "OpenTelemetry collector that takes traces, metrics and logs over OTLP/gRPC",
        )
    },
    switch(
        "otel-collector-endpoint-tls-insecure",
        Group::Telemetry,
        false,
        "Reach the collector without encryption",
    ),
    Setting {
        relation: Some(Relation::Excludes("otel-collector-endpoint-tls-cert")),
        overruled_by: Some("otel-collector-endpoint-tls-insecure"),
        ..path(
            "otel-collector-endpoint-tls-cert-path",
            Group::Telemetry,
            "PEM file with the CAs one of which must have signed the collector's certificate, in place of the system's",
        )
    },
    Setting {
        value_name: "BASE64",
        overruled_by: Some("otel-collector-endpoint-tls-insecure"),
        ..text(
            "otel-collector-endpoint-tls-cert",
            Group::Telemetry,
            "The same as text: the PEM file in URL-safe base64",
        )
    },
    switch("otel-tracing-disabled", Group::Telemetry, false, "Send the collector no traces"),
    switch("otel-logging-disabled", Group::Telemetry, false, "Send the collector no logs"),
];
