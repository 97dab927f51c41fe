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
            "Address of the gRPC server: host:port, or unix:/path for a Unix socket",
        )
    },
    Setting {
        relation: Some(Relation::GoesWith("tls-key")),
        protects: true,
        ..path(
            "tls-cert",
            Group::Server,
            "PEM file with the server's certificate and its intermediate certificates; requires tls-key",
        )
    },
    Setting {
        relation: Some(Relation::GoesWith("tls-cert")),
        protects: true,
        ..path(
            "tls-key",
            Group::Server,
            "PEM file with the private key of the server's certificate; requires tls-cert",
        )
    },
    Setting {
        relation: Some(Relation::Needs("tls-cert")),
        protects: true,
        ..path(
            "tls-client-ca",
            Group::Server,
            "PEM file with the CAs to verify the certificates of callers against; requires tls-cert",
        )
    },
    Setting {
        protects: true,
        ..path(
            "auth-token-file",
            Group::Server,
            "File with the bearer tokens that the server accepts, one per line",
        )
    },
    switch(
        "insecure",
        Group::Server,
        Security::DEFAULT.insecure,
        "Accept unencrypted connections on an address that other machines can reach",
    ),
    Setting {
        protects: true,
        ..switch(
            "reflection",
            Group::Server,
            ServerSettings::REFLECTION,
            "Serve gRPC reflection, which lists the available calls",
        )
    },
    Setting {
        protects: true,
        ..switch(
            "health-without-token",
            Group::Server,
            Security::DEFAULT.open_health,
            "Answer gRPC health checks, and nothing else, to callers without a token",
        )
    },
    whole(
        "snapshot-max-mib",
        Group::Limits,
        (0, 64 * 1024),
        Options::DEFAULT.snapshot_max_mib as usize,
        "MIB",
        "Total memory in MiB for the access snapshots that answer syncs; 0 answers syncs with SQL statements",
    ),
    whole(
        "max-connections",
        Group::Limits,
        (1, 1_000_000),
        Limits::DEFAULT.connections,
        "COUNT",
        "Maximum number of open connections; a new connection beyond it replaces another one",
    ),
    whole(
        "max-streams",
        Group::Limits,
        (1, 100_000),
        Limits::DEFAULT.streams as usize,
        "COUNT",
        "Maximum number of concurrent calls per connection; further calls wait in the caller",
    ),
    whole(
        "max-requests",
        Group::Limits,
        (1, 1_000_000),
        Limits::DEFAULT.requests,
        "COUNT",
        "Maximum number of concurrent calls on all connections; further calls fail with Unavailable",
    ),
    whole(
        "max-request-bytes",
        Group::Limits,
        (1024, 64 * MIB),
        Limits::DEFAULT.request_bytes,
        "BYTES",
        "Maximum size of a request message; page tokens may add 1 MiB",
    ),
    whole(
        "max-response-bytes",
        Group::Limits,
        // A page of a listing is filled up to 2 MiB, whatever the value of this setting.
        (2 * MIB, 64 * MIB),
        Limits::DEFAULT.response_bytes,
        "BYTES",
        "Maximum size of a response message; pages of listings need 2 MiB",
    ),
    whole(
        "max-header-bytes",
        Group::Limits,
        (1024, MIB),
        Limits::DEFAULT.header_bytes as usize,
        "BYTES",
        "Maximum total size of the headers of a call",
    ),
    seconds(
        "request-timeout-seconds",
        Group::Limits,
        (1, 3600),
        Limits::DEFAULT.deadline,
        "Timeout for one call; a shorter grpc-timeout of the caller takes precedence",
    ),
    seconds(
        "stall-timeout-seconds",
        Group::Limits,
        (1, 3600),
        Limits::DEFAULT.stall,
        "How long a caller may make no progress in sending a request or reading a response",
    ),
    seconds(
        "keepalive-interval-seconds",
        Group::Limits,
        (1, 3600),
        Limits::DEFAULT.keepalive_interval,
        "How long a connection may be silent before the server sends a keepalive ping",
    ),
    seconds(
        "keepalive-timeout-seconds",
        Group::Limits,
        (1, 3600),
        Limits::DEFAULT.keepalive_timeout,
        "How long the server waits for the answer to a keepalive ping before it closes the connection",
    ),
    seconds(
        "shutdown-grace-seconds",
        Group::Limits,
        (0, 3600),
        Limits::DEFAULT.grace,
        "How long running calls may continue after the program receives a stop signal",
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
        "How long to wait for a new database connection; connect_timeout in the connection string takes precedence",
    ),
    seconds(
        "pool-wait-seconds",
        Group::Database,
        (1, 300),
        Timeouts::DEFAULT.pool,
        "How long a call waits for a free database connection",
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
        "Port of the health probes",
    ),
    Setting {
        kind: Kind::Host,
        fallback: Fallback::Value(DefaultValue::Text(HealthSettings::HOST)),
        value_name: "HOST",
        hidden: true,
        ..text("health-check-bind-address", Group::Health, "Address of the health probes")
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
            "Time after which a start with log-level debug logs at info instead",
        )
    },
    Setting {
        kind: Kind::Choice(&["json", "console"]),
        fallback: Fallback::Depends {
            text: "console if stdout is a terminal, else json",
            value: |sources| Some(LogFormat::default_on(sources.stdout_is_terminal).to_owned()),
        },
        value_name: "FORMAT",
        ..text("log-format", Group::Logs, "Format of log lines")
    },
    Setting {
        kind: Kind::LogTargets,
        fallback: Fallback::Value(DefaultValue::Text(LogTarget::DEFAULT)),
        value_name: "PATH",
        ..text(
            "log-path",
            Group::Logs,
            "File to append log lines to, or stderr or stdout; repeat the flag or use commas for several",
        )
    },
    Setting {
        kind: Kind::HostAndPort,
        value_name: "ADDRESS",
        ..text(
            "metrics-listen",
            Group::Telemetry,
            "Address that serves Prometheus metrics over plain HTTP, at /metrics",
        )
    },
    Setting {
        kind: Kind::HostAndPort,
        value_name: "ADDRESS",
        ..text(
            "otel-collector-endpoint",
            Group::Telemetry,
            "OpenTelemetry collector that receives traces, metrics and logs over OTLP/gRPC",
        )
    },
    switch(
        "otel-collector-endpoint-tls-insecure",
        Group::Telemetry,
        false,
        "Connect to the collector without encryption",
    ),
    Setting {
        relation: Some(Relation::Excludes("otel-collector-endpoint-tls-cert")),
        protects: true,
        overruled_by: Some("otel-collector-endpoint-tls-insecure"),
        ..path(
            "otel-collector-endpoint-tls-cert-path",
            Group::Telemetry,
            "PEM file with the CAs to verify the collector's certificate against, instead of the system's CAs",
        )
    },
    Setting {
        value_name: "BASE64",
        protects: true,
        overruled_by: Some("otel-collector-endpoint-tls-insecure"),
        ..text(
            "otel-collector-endpoint-tls-cert",
            Group::Telemetry,
            "The PEM file of otel-collector-endpoint-tls-cert-path, in URL-safe base64",
        )
    },
    switch("otel-tracing-disabled", Group::Telemetry, false, "Do not send traces to the collector"),
    switch("otel-logging-disabled", Group::Telemetry, false, "Do not send logs to the collector"),
];
