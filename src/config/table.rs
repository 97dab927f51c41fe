//! The declaration of every setting.

use crate::agent::service::ServiceSettings;
use crate::agent::sync::SyncSettings;
use crate::config::declaration::{path, seconds, switch, text, texts, whole};
use crate::config::hosted::HOSTED;
use crate::config::setting::{DefaultValue, Fallback, Group, Kind, Relation, Setting};
use crate::config::sources::Sources;
use crate::connector::Options;
use crate::postgres::pool::Timeouts;
use crate::retool::api::settings::ApiSettings;
use crate::retool::privileges::Scope;
use crate::server::{Endpoint, HealthSettings, Limits, Security, ServerSettings};
use crate::telemetry::settings::{LogFormat, LogLevel, LogTarget};

/// Every setting of this release, by heading. A settings type reads one by having a field of its name.
pub(crate) const ALL: &[Setting] = &[
    Setting {
        fallback: Fallback::Required,
        value_name: "CONNECTION_STRING",
        secret: true,
        ..text(
            "connection-string",
            Group::Connector,
            "How to reach Retool's Postgres database, as a postgres:// URL or as keyword=value pairs",
        )
    },
    switch(
        "skip-pages",
        Group::Connector,
        Scope::DEFAULT.skip_pages,
        "Leave out Retool's apps, which the protocol calls pages",
    ),
    switch(
        "skip-resources",
        Group::Connector,
        Scope::DEFAULT.skip_resources,
        "Leave out Retool's resources: the data sources its apps use",
    ),
    switch(
        "skip-disabled-users",
        Group::Connector,
        Options::DEFAULT.skip_disabled_users,
        "Leave out users who are disabled in Retool",
    ),
    Setting {
        relation: Some(Relation::GoesWith("retool-api-token")),
        kind: Kind::Url,
        value_name: "URL",
        ..text(
            "retool-api-base-url",
            Group::Connector,
            "Where Retool's REST API answers, for accounts and their state; goes with retool-api-token",
        )
    },
    Setting {
        value_name: "TOKEN",
        relation: Some(Relation::GoesWith("retool-api-base-url")),
        secret: true,
        ..text(
            "retool-api-token",
            Group::Connector,
            "Token for Retool's REST API; goes with retool-api-base-url",
        )
    },
    Setting {
        short: Some('p'),
        ..switch(
            "provisioning",
            Group::Run,
            Scope::DEFAULT.provisioning,
            "Allow changes in Retool: grants, revocations, accounts and actions",
        )
    },
    switch(
        "dry-run",
        Group::Run,
        Options::DEFAULT.dry_run,
        "Answer what a change would do, and change nothing in Retool; goes with provisioning",
    ),
    switch(
        "managed-groups",
        Group::Run,
        Scope::DEFAULT.managed_groups,
        "Give single users access to pages, through groups that are made for it in Retool",
    ),
    seconds(
        "http-timeout-seconds",
        Group::Run,
        (1, 1800),
        ApiSettings::TIMEOUT,
        "How long one request to Retool's REST API, or for a token of ConductorOne, may take; more than 30 counts as 30",
    ),
    switch("ticketing", Group::Run, Options::DEFAULT.ticketing, "Turn on the ticketing half of the protocol"),
    Setting {
        value_name: "ID",
        relation: Some(Relation::GoesWith("client-secret")),
        ..text(
            "client-id",
            Group::Service,
            "Which client of ConductorOne this is; a program that has one and no command asks ConductorOne for tasks",
        )
    },
    Setting {
        value_name: "SECRET",
        relation: Some(Relation::GoesWith("client-id")),
        secret: true,
        ..text("client-secret", Group::Service, "The key of that client; goes with client-id")
    },
    whole(
        "task-concurrency",
        Group::Service,
        (1, 100),
        ServiceSettings::TASK_CONCURRENCY as usize,
        "COUNT",
        "How many tasks of ConductorOne are run at a time",
    ),
    Setting {
        short: Some('f'),
        fallback: Fallback::Value(DefaultValue::Text(SyncSettings::FILE)),
        ..path("file", Group::Sync, "The c1z file to write or to show")
    },
    Setting {
        value_name: "TYPES",
        ..texts("sync-resource-types", Group::Sync, "Read only these resource types, such as user,group")
    },
    Setting {
        value_name: "IDS",
        ..texts(
            "sync-resources",
            Group::Sync,
            "Read only these resources and what belongs to them, each written as bid:r:<type>/<id>",
        )
    },
    switch("skip-entitlements-and-grants", Group::Sync, false, "Read resource types and resources only"),
    Setting {
        relation: Some(Relation::Needs("sync-resources")),
        ..switch("skip-grants", Group::Sync, false, "Read no grants; goes with sync-resources")
    },
    switch(
        "skip-full-sync",
        Group::Sync,
        false,
        "Upload an empty sync to ConductorOne in place of a full one; a one-shot sync runs all the same, as it always did",
    ),
    Setting {
        kind: Kind::Workers,
        fallback: Fallback::Value(DefaultValue::Text(SyncSettings::WORKERS)),
        value_name: "COUNT",
        ..text(
            "workers",
            Group::Sync,
            "How many calls a sync makes at a time; 0 is one after the other, -1 is one for each processor, at most 4",
        )
    },
    switch("parallel-sync", Group::Sync, false, "The same as workers -1, which is the default"),
    Setting {
        value_name: "FOLDER",
        fallback: Fallback::Depends { text: "BATON_TMPDIR, else the system's", value: folder_of_the_family },
        ..path("c1z-temp-dir", Group::Sync, "Folder in which a c1z file is unpacked while it is in use")
    },
    whole(
        "keep-sync-count",
        Group::Sync,
        (1, 10_000),
        SyncSettings::KEEP_SYNCS as usize,
        "COUNT",
        "How many full syncs stay in the file, the new one included",
    ),
    switch("skip-cleanup", Group::Sync, false, "Keep every sync in the file"),
    path(
        "external-resource-c1z",
        Group::Sync,
        "A c1z file of another connector, whose users and groups hold grants of this one",
    ),
    Setting {
        value_name: "ID",
        relation: Some(Relation::Needs("external-resource-c1z")),
        ..text(
            "external-resource-entitlement-id-filter",
            Group::Sync,
            "Take only holders of this entitlement from the other file; goes with external-resource-c1z",
        )
    },
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
        // A page of a listing is filled up to 2 MiB, whatever this says.
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
        ..text(
            "log-level",
            Group::Logs,
            "The least severity that is logged; dpanic, panic and fatal mean error",
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

const MIB: u32 = 1024 * 1024;

/// The folder for temporary files of every program that reads and writes c1z files.
fn folder_of_the_family(sources: &Sources) -> Option<String> {
    // A name that is not UTF-8 leads to a folder that is not there, which the command says.
    sources.variable("BATON_TMPDIR").map(|folder| folder.to_string_lossy().into_owned())
}

/// Every setting that a source can give, those of a hosted connector included.
pub(super) fn every() -> impl Iterator<Item = &'static Setting> {
    ALL.iter().chain(HOSTED)
}

/// The setting of this name.
pub(super) fn named(name: &str) -> Option<&'static Setting> {
    every().find(|setting| setting.name == name)
}
