//! Errors of the settings for sending telemetry.

use std::io;

use opentelemetry_otlp::ExporterBuildError;

/// The reason why telemetry cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file with the certificate authorities is unreadable.
    #[error("{setting}: cannot read the certificates in {path}: {source}")]
    File {
        /// The setting or variable with its name.
        setting: String,
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// There is no certificate in the text or file.
    #[error("{setting}: no PEM certificate in {place}")]
    NoCertificate {
        /// The setting or variable with the certificates or their file.
        setting: String,
        /// The place where the certificates are expected.
        place: String,
    },
    /// The address of a collector is not a URL, or its scheme is not supported.
    #[error(
        "{setting}: the value is not the address of a collector, such as https://collector.example.com:4317 or http://127.0.0.1:4317"
    )]
    Endpoint {
        /// The setting or variable with the address.
        setting: String,
    },
    /// The library does not accept the certificates.
    #[error("{setting}: {source}")]
    Exporter {
        /// The setting or variable with the certificates or their file or, without those, with the collector.
        setting: String,
        /// The error of the library.
        source: ExporterBuildError,
    },
    /// The operating system cannot start a thread.
    #[error("otel-collector-endpoint: cannot start a thread: {0}")]
    Thread(io::Error),
}
