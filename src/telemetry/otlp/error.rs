//! Why telemetry cannot be sent.

use std::io;

use opentelemetry_otlp::ExporterBuildError;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file with the CAs.
    #[error("{setting}: cannot read the certificates in {path}: {source}")]
    File {
        /// The setting or variable that names it.
        setting: String,
        /// The file.
        path: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// What should be certificates is something else.
    #[error("{setting}: no PEM certificate in {place}")]
    NoCertificate {
        /// The setting or variable that has or names them.
        setting: String,
        /// Where they should be.
        place: String,
    },
    /// A collector is named in a way that is no URL, or by a scheme that is not spoken.
    #[error(
        "{setting}: {given:?} is no address of a collector: it begins with http:// or https://, as in https://collector.example.com:4317"
    )]
    Endpoint {
        /// The setting or variable that names it.
        setting: String,
        /// The address, without credentials.
        given: String,
    },
    /// The library cannot use the certificates.
    #[error("{setting}: {source}")]
    Exporter {
        /// The setting or variable that has or names them or, without those, the collector.
        setting: String,
        /// What the library says.
        source: ExporterBuildError,
    },
    /// The operating system gives no thread.
    #[error("otel-collector-endpoint: cannot start a thread: {0}")]
    Thread(io::Error),
}
