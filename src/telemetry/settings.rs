//! What is logged and collected, and where it goes.

use std::path::PathBuf;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, de};

use crate::address::HostAndPort;

/// What is logged, in which shape, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct LogSettings {
    /// The least severity.
    #[serde(rename = "log-level")]
    pub level: LogLevel,
    /// The shape of a line.
    #[serde(rename = "log-format")]
    pub format: LogFormat,
    /// Every place that gets each line: at least one, and none twice. A child process logs on standard error
    /// whatever this says, because its parent reads there.
    #[serde(rename = "log-path", deserialize_with = "each_once")]
    pub paths: Vec<LogTarget>,
}

/// The least severity that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// Everything.
    Debug,
    /// The normal course of things, and worse.
    Info,
    /// What somebody should look at, and worse.
    Warn,
    /// Only what failed.
    #[serde(alias = "dpanic", alias = "panic", alias = "fatal")]
    Error,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// One JSON object.
    Json,
    /// For a person at a terminal.
    Console,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) enum LogTarget {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file that is appended to. A relative path starts from the working directory.
    File(PathBuf),
}

/// What others collect. The standard `OTEL_` variables, which are no settings of ours, add to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct TelemetrySettings {
    /// The collector; its port is not 0.
    #[serde(rename = "otel-collector-endpoint", default, deserialize_with = "reachable")]
    pub collector: Option<HostAndPort>,
    /// How to reach the collector, also one that a variable names.
    pub collector_tls: CollectorTls,
    /// Send no traces.
    #[serde(rename = "otel-tracing-disabled")]
    pub tracing_disabled: bool,
    /// Send no logs.
    #[serde(rename = "otel-logging-disabled")]
    pub logging_disabled: bool,
    /// Where Prometheus finds the metrics.
    #[serde(rename = "metrics-listen")]
    pub metrics_listen: Option<HostAndPort>,
}

/// How the way to the collector is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "CollectorTlsFields")]
pub(crate) enum CollectorTls {
    /// Not at all.
    Off,
    /// One of the system's CAs has to vouch for the collector.
    #[default]
    SystemRoots,
    /// One of the CAs in this file has to.
    File(PathBuf),
    /// One of the CAs in this text has to. Not yet known to be PEM.
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

/// Bytes that are written as base64.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Base64(Vec<u8>);

impl LogLevel {
    /// The default of `--log-level`.
    pub(crate) const DEFAULT: &str = "info";
}

impl LogFormat {
    /// The default of `--log-format`: for a person where one looks on, else for machines.
    pub(crate) fn default_on(stdout_is_terminal: bool) -> &'static str {
        if stdout_is_terminal { "console" } else { "json" }
    }

    /// The format of this name; JSON for a word that is not known.
    pub(crate) fn named(word: &str) -> Self {
        if word == "console" { Self::Console } else { Self::Json }
    }
}

impl LogTarget {
    /// The default of `--log-path`.
    pub(crate) const DEFAULT: &str = "stderr";
}

impl From<String> for LogTarget {
    /// Reads the two special names as they are; everything else is a file.
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

    /// The former program wants the URL-safe letters and no padding; `base64` on a command line writes the
    /// others.
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
        Some(HostAndPort { port: 0, .. }) => Err(de::Error::custom("port 0 leads nowhere")),
        address => Ok(address),
    }
}
