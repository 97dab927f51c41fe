//! The settings of logs and telemetry.

use std::path::PathBuf;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, de};

use crate::address::HostAndPort;

/// The level, format and targets of logs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct LogSettings {
    /// The lowest level.
    #[serde(rename = "log-level")]
    pub level: LogLevel,
    /// The format of a line.
    #[serde(rename = "log-format")]
    pub format: LogFormat,
    /// The targets that get each line: at least one, without duplicates. A child process always logs on
    /// standard error, because its parent reads there.
    #[serde(rename = "log-path", deserialize_with = "each_once")]
    pub paths: Vec<LogTarget>,
}

/// The lowest severity that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// All events.
    Debug,
    /// Normal operation, and higher levels.
    Info,
    /// Events that need attention, and higher levels.
    Warn,
    /// Failures only.
    #[serde(alias = "dpanic", alias = "panic", alias = "fatal")]
    Error,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// One JSON object.
    Json,
    /// For a person at a terminal.
    Console,
}

/// The target of log lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) enum LogTarget {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, to which lines are appended. A relative path starts at the working directory.
    File(PathBuf),
}

/// Settings of traces, metrics and logs for collectors. The standard `OTEL_` variables, which are not
/// settings of this program, add to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct TelemetrySettings {
    /// The address of the collector; its port is not 0.
    #[serde(rename = "otel-collector-endpoint", default, deserialize_with = "reachable")]
    pub collector: Option<HostAndPort>,
    /// The TLS settings of the collector, including one that a variable names.
    pub collector_tls: CollectorTls,
    /// Send no traces.
    #[serde(rename = "otel-tracing-disabled")]
    pub tracing_disabled: bool,
    /// Send no logs.
    #[serde(rename = "otel-logging-disabled")]
    pub logging_disabled: bool,
    /// The address of the Prometheus endpoint.
    #[serde(rename = "metrics-listen")]
    pub metrics_listen: Option<HostAndPort>,
}

/// The TLS of connections to the collector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "CollectorTlsFields")]
pub(crate) enum CollectorTls {
    /// No TLS.
    Off,
    /// The collector needs a certificate from a certificate authority of the system.
    #[default]
    SystemRoots,
    /// The collector needs a certificate from a certificate authority in this file.
    File(PathBuf),
    /// The collector needs a certificate from a certificate authority in this text, which may not be valid
    /// PEM.
    Text(Vec<u8>),
}

/// The settings that make up [`CollectorTls`].
#[derive(Deserialize)]
struct CollectorTlsFields {
    #[serde(rename = "otel-collector-endpoint-tls-insecure")]
    insecure: bool,
    #[serde(rename = "otel-collector-endpoint-tls-cert-path")]
    file: Option<PathBuf>,
    #[serde(rename = "otel-collector-endpoint-tls-cert")]
    text: Option<Base64>,
}

/// Bytes in base64.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Base64(Vec<u8>);

impl LogLevel {
    /// The default of `--log-level`.
    pub(crate) const DEFAULT: &str = "info";
}

impl LogFormat {
    /// The default of `--log-format`: for people on a terminal, otherwise for machines.
    pub(crate) fn default_on(stdout_is_terminal: bool) -> &'static str {
        if stdout_is_terminal { "console" } else { "json" }
    }

    /// The format with this name; JSON for an unknown name.
    pub(crate) fn named(word: &str) -> Self {
        if word == "console" { Self::Console } else { Self::Json }
    }
}

impl LogTarget {
    /// The default of `--log-path`.
    pub(crate) const DEFAULT: &str = "stderr";
}

impl From<String> for LogTarget {
    /// Parses the two special names; any other text is a file.
    fn from(text: String) -> Self {
        match text.as_str() {
            "stderr" => Self::Stderr,
            "stdout" => Self::Stdout,
            _ => Self::File(text.into()),
        }
    }
}

impl From<CollectorTlsFields> for CollectorTls {
    fn from(fields: CollectorTlsFields) -> Self {
        match fields {
            CollectorTlsFields { insecure: true, .. } => Self::Off,
            CollectorTlsFields { file: Some(path), .. } => Self::File(path),
            CollectorTlsFields { text: Some(Base64(text)), .. } => Self::Text(text),
            CollectorTlsFields { .. } => Self::SystemRoots,
        }
    }
}

impl TryFrom<String> for Base64 {
    type Error = &'static str;

    /// The Go connector requires the URL-safe alphabet and no padding; the command `base64` writes the
    /// standard alphabet.
    fn try_from(text: String) -> Result<Self, &'static str> {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        [URL_SAFE, STANDARD]
            .iter()
            .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text.trim()).ok())
            .map(Self)
            .ok_or("the value is not base64")
    }
}

fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LogTarget>, D::Error> {
    let mut targets = Vec::new();
    for target in Vec::<LogTarget>::deserialize(deserializer)? {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

fn reachable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HostAndPort>, D::Error> {
    match Option::<HostAndPort>::deserialize(deserializer)? {
        Some(HostAndPort { port: 0, .. }) => Err(de::Error::custom("port 0 is not a valid port")),
        address => Ok(address),
    }
}
