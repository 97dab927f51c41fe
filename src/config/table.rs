//! The declaration of every setting.

use super::setting::{Fallback, Group, Kind, Setting};

/// Declares the constants and the list of them in one go: a setting left out of the list would have
/// no flag and no variable, and nothing would say so.
macro_rules! settings {
    ($($constant:ident = $setting:expr;)*) => {
        $(pub(super) const $constant: Setting = $setting;)*

        /// Every setting of this release, by heading.
        pub const ALL: &[Setting] = &[$($constant),*];
    };
}

settings! {
    CONNECTION_STRING = Setting {
        fallback: Fallback::Required,
        value_name: "CONNECTION_STRING",
        secret: true,
        ..text(
            "connection-string",
            Group::Connector,
            "How to reach Retool's Postgres database, as a postgres:// URL or as keyword=value pairs",
        )
    };
    SKIP_PAGES = switch(
        "skip-pages",
        Group::Connector,
        "Leave out Retool's apps, which the protocol calls pages",
    );
    SKIP_RESOURCES = switch(
        "skip-resources",
        Group::Connector,
        "Leave out Retool's resources: the data sources its apps use",
    );
    SKIP_DISABLED_USERS = switch(
        "skip-disabled-users",
        Group::Connector,
        "Leave out users who are disabled in Retool",
    );
    RETOOL_API_BASE_URL = Setting {
        kind: Kind::Url,
        value_name: "URL",
        ..text(
            "retool-api-base-url",
            Group::Connector,
            "Where Retool's REST API answers, for accounts and their state; goes with retool-api-token",
        )
    };
    RETOOL_API_TOKEN = Setting {
        value_name: "TOKEN",
        secret: true,
        ..text(
            "retool-api-token",
            Group::Connector,
            "Token for Retool's REST API; goes with retool-api-base-url",
        )
    };
    PROVISIONING = Setting {
        short: Some('p'),
        ..switch(
            "provisioning",
            Group::Run,
            "Allow changes in Retool: grants, revocations, accounts and actions",
        )
    };
    DRY_RUN = switch(
        "dry-run",
        Group::Run,
        "Answer what a change would do, and change nothing in Retool; goes with provisioning",
    );
    MANAGED_GROUPS = Setting {
        fallback: Fallback::Value("true"),
        ..switch(
            "managed-groups",
            Group::Run,
            "Give single users access to pages, through groups that are made for it in Retool",
        )
    };
    HTTP_TIMEOUT_SECONDS = seconds(
        "http-timeout-seconds",
        Group::Run,
        (1, 1800, "30"),
        "How long one request to Retool's REST API may take; more than 30 counts as 30",
    );
    TICKETING = switch("ticketing", Group::Run, "Turn on the ticketing half of the protocol");
    FILE = Setting {
        short: Some('f'),
        fallback: Fallback::Value("sync.c1z"),
        ..path("file", Group::Sync, "The c1z file to write or to show")
    };
    SYNC_RESOURCE_TYPES = Setting {
        value_name: "TYPES",
        ..texts("sync-resource-types", Group::Sync, "Read only these resource types, such as user,group")
    };
    SYNC_RESOURCES = Setting {
        value_name: "IDS",
        ..texts(
            "sync-resources",
            Group::Sync,
            "Read only these resources and what belongs to them, each written as bid:r:<type>/<id>",
        )
    };
    SKIP_ENTITLEMENTS_AND_GRANTS = switch(
        "skip-entitlements-and-grants",
        Group::Sync,
        "Read resource types and resources only",
    );
    SKIP_GRANTS = switch("skip-grants", Group::Sync, "Read no grants; goes with sync-resources");
    SKIP_FULL_SYNC = switch(
        "skip-full-sync",
        Group::Sync,
        "Accepted for old command lines; a one-shot sync runs all the same, as it always did",
    );
    WORKERS = Setting {
        kind: Kind::Workers,
        fallback: Fallback::Value("0"),
        value_name: "COUNT",
        ..text(
            "workers",
            Group::Sync,
            "How many calls a sync makes at a time; 0 is one after the other, -1 lets the machine decide",
        )
    };
    PARALLEL_SYNC = switch("parallel-sync", Group::Sync, "The same as workers -1");
    C1Z_TEMP_DIR = Setting {
        value_name: "FOLDER",
        fallback: Fallback::Depends("BATON_TMPDIR, else the system's"),
        ..path("c1z-temp-dir", Group::Sync, "Folder in which a c1z file is unpacked while it is in use")
    };
    KEEP_SYNC_COUNT = whole(
        "keep-sync-count",
        Group::Sync,
        (1, 10_000, "2"),
        "COUNT",
        "How many full syncs stay in the file, the new one included",
    );
    SKIP_CLEANUP = switch("skip-cleanup", Group::Sync, "Keep every sync in the file");
    EXTERNAL_RESOURCE_C1Z = path(
        "external-resource-c1z",
        Group::Sync,
        "A c1z file of another connector, whose users and groups hold grants of this one",
    );
    EXTERNAL_RESOURCE_ENTITLEMENT_ID_FILTER = Setting {
        value_name: "ID",
        ..text(
            "external-resource-entitlement-id-filter",
            Group::Sync,
            "Take only holders of this entitlement from the other file; goes with external-resource-c1z",
        )
    };
    LISTEN = Setting {
        kind: Kind::SocketAddress,
        fallback: Fallback::Value("127.0.0.1:8080"),
        value_name: "ADDRESS",
        ..text(
            "listen",
            Group::Server,
            "Where the gRPC server accepts connections: host:port, or unix:/path for a socket file",
        )
    };
    TLS_CERT = path(
        "tls-cert",
        Group::Server,
        "PEM file with the server's certificate and those between it and its CA; goes with tls-key",
    );
    TLS_KEY = path(
        "tls-key",
        Group::Server,
        "PEM file with the private key of the server's certificate; goes with tls-cert",
    );
    TLS_CLIENT_CA = path(
        "tls-client-ca",
        Group::Server,
        "PEM file with the CAs one of which must have signed a caller's certificate; needs tls-cert",
    );
    AUTH_TOKEN_FILE = path(
        "auth-token-file",
        Group::Server,
        "File with the bearer tokens that callers may present, one on each line",
    );
    INSECURE = switch(
        "insecure",
        Group::Server,
        "Accept unencrypted connections on an address that other machines reach",
    );
    REFLECTION = Setting {
        fallback: Fallback::Value("true"),
        ..switch("reflection", Group::Server, "Tell callers by gRPC reflection which calls there are")
    };
    HEALTH_WITHOUT_TOKEN = Setting {
        fallback: Fallback::Value("true"),
        ..switch(
            "health-without-token",
            Group::Server,
            "Answer gRPC health checks, and nothing else, to callers without a token",
        )
    };
    MAX_CONNECTIONS = whole(
        "max-connections",
        Group::Limits,
        (1, 1_000_000, "4096"),
        "COUNT",
        "How many connections may be open at a time; one more is closed at once",
    );
    MAX_STREAMS = whole(
        "max-streams",
        Group::Limits,
        (1, 100_000, "256"),
        "COUNT",
        "How many calls one connection may have under way; more wait in the caller",
    );
    MAX_REQUESTS = whole(
        "max-requests",
        Group::Limits,
        (1, 1_000_000, "512"),
        "COUNT",
        "How many calls may be under way on all connections together; one more is refused as Unavailable",
    );
    MAX_REQUEST_BYTES = whole(
        "max-request-bytes",
        Group::Limits,
        (1024, 64 * MIB, "4194304"),
        "BYTES",
        "Size of the largest request message that is read",
    );
    MAX_RESPONSE_BYTES = whole(
        "max-response-bytes",
        Group::Limits,
        // A page of a listing is filled up to 2 MiB, whatever this says.
        (2 * MIB, 64 * MIB, "4194304"),
        "BYTES",
        "Size of the largest answer that is sent; pages of listings need 2 MiB",
    );
    MAX_HEADER_BYTES = whole(
        "max-header-bytes",
        Group::Limits,
        (1024, MIB, "16384"),
        "BYTES",
        "Size of all headers of a call together",
    );
    REQUEST_TIMEOUT_SECONDS = seconds(
        "request-timeout-seconds",
        Group::Limits,
        (1, 3600, "300"),
        "How long a call may take; a shorter grpc-timeout of the caller wins",
    );
    KEEPALIVE_INTERVAL_SECONDS = seconds(
        "keepalive-interval-seconds",
        Group::Limits,
        (1, 3600, "30"),
        "How long a connection may be silent before the server asks whether the caller is still there",
    );
    KEEPALIVE_TIMEOUT_SECONDS = seconds(
        "keepalive-timeout-seconds",
        Group::Limits,
        (1, 3600, "20"),
        "How long the caller has to answer that before the connection is closed",
    );
    SHUTDOWN_GRACE_SECONDS = seconds(
        "shutdown-grace-seconds",
        Group::Limits,
        (0, 3600, "30"),
        "How long calls under way may go on once the program has been told to stop",
    );
    STATEMENT_TIMEOUT_SECONDS = seconds(
        "statement-timeout-seconds",
        Group::Database,
        (1, 3600, "60"),
        "How long one SQL statement may run before the database cancels it",
    );
    CONNECT_TIMEOUT_SECONDS = seconds(
        "connect-timeout-seconds",
        Group::Database,
        (1, 300, "10"),
        "How long to wait for a new database connection; connect_timeout in the connection string wins",
    );
    POOL_WAIT_SECONDS = seconds(
        "pool-wait-seconds",
        Group::Database,
        (1, 300, "10"),
        "How long a call waits for a database connection that other calls have in use",
    );
    HEALTH_CHECK = switch(
        "health-check",
        Group::Health,
        "Answer probes over plain HTTP, at /health, /ready and /live",
    );
    HEALTH_CHECK_PORT = whole(
        "health-check-port",
        Group::Health,
        (0, 65535, "8081"),
        "PORT",
        "Port on which probes are answered",
    );
    HEALTH_CHECK_BIND_ADDRESS = Setting {
        kind: Kind::Host,
        fallback: Fallback::Value("127.0.0.1"),
        value_name: "HOST",
        hidden: true,
        ..text("health-check-bind-address", Group::Health, "Address on which probes are answered")
    };
    LOG_LEVEL = Setting {
        kind: Kind::Choice(&["debug", "info", "warn", "error", "dpanic", "panic", "fatal"]),
        fallback: Fallback::Value("info"),
        value_name: "LEVEL",
        ..text(
            "log-level",
            Group::Logs,
            "The least severity that is logged; dpanic, panic and fatal mean error",
        )
    };
    LOG_FORMAT = Setting {
        kind: Kind::Choice(&["json", "console"]),
        fallback: Fallback::Depends("console on a terminal, else json"),
        value_name: "FORMAT",
        ..text("log-format", Group::Logs, "Shape of a log line")
    };
    LOG_PATH = Setting {
        kind: Kind::LogTargets,
        fallback: Fallback::Value("stderr"),
        value_name: "PATH",
        ..text(
            "log-path",
            Group::Logs,
            "File that log lines are appended to, or stderr or stdout; repeat it or use commas for more",
        )
    };
    METRICS_LISTEN = Setting {
        kind: Kind::HostAndPort,
        value_name: "ADDRESS",
        ..text(
            "metrics-listen",
            Group::Telemetry,
            "Where Prometheus finds the metrics over plain HTTP, at /metrics",
        )
    };
    OTEL_COLLECTOR_ENDPOINT = Setting {
        kind: Kind::HostAndPort,
        value_name: "ADDRESS",
        ..text(
            "otel-collector-endpoint",
            Group::Telemetry,
            "OpenTelemetry collector that takes traces, metrics and logs over OTLP/gRPC",
        )
    };
    OTEL_COLLECTOR_ENDPOINT_TLS_INSECURE = switch(
        "otel-collector-endpoint-tls-insecure",
        Group::Telemetry,
        "Reach the collector without encryption",
    );
    OTEL_COLLECTOR_ENDPOINT_TLS_CERT_PATH = path(
        "otel-collector-endpoint-tls-cert-path",
        Group::Telemetry,
        "PEM file with the CAs one of which must have signed the collector's certificate, in place of the system's",
    );
    OTEL_COLLECTOR_ENDPOINT_TLS_CERT = Setting {
        value_name: "BASE64",
        ..text(
            "otel-collector-endpoint-tls-cert",
            Group::Telemetry,
            "The same as text: the PEM file in URL-safe base64",
        )
    };
    OTEL_TRACING_DISABLED = switch("otel-tracing-disabled", Group::Telemetry, "Send the collector no traces");
    OTEL_LOGGING_DISABLED = switch("otel-logging-disabled", Group::Telemetry, "Send the collector no logs");
}

const MIB: u32 = 1024 * 1024;

/// An optional text, the start of most declarations.
const fn text(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting {
        name,
        short: None,
        kind: Kind::Text,
        fallback: Fallback::Unset,
        help,
        value_name: "TEXT",
        secret: false,
        hidden: false,
        group,
    }
}

/// Several optional texts.
const fn texts(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting { kind: Kind::Texts, ..text(name, group, help) }
}

/// A switch that is off until someone turns it on.
const fn switch(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting {
        kind: Kind::Switch,
        fallback: Fallback::Value("false"),
        value_name: "BOOL",
        ..text(name, group, help)
    }
}

/// The path of a file that only some set-ups have.
const fn path(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting { kind: Kind::Path, value_name: "FILE", ..text(name, group, help) }
}

/// A number: the least and the most that is accepted, and the default.
const fn whole(
    name: &'static str,
    group: Group,
    (min, max, default): (u32, u32, &'static str),
    value_name: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        kind: Kind::Whole { min, max },
        fallback: Fallback::Value(default),
        value_name,
        ..text(name, group, help)
    }
}

/// A span of time in seconds.
const fn seconds(
    name: &'static str,
    group: Group,
    bounds: (u32, u32, &'static str),
    help: &'static str,
) -> Setting {
    whole(name, group, bounds, "SECONDS", help)
}
