//! Traces, metrics and logs for those who collect them (spec, service mode 22).

use std::path::PathBuf;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::path;
use crate::config::error::Error;
use crate::config::layers::{Layers, invalid};
use crate::config::setting::Setting;
use crate::config::table::{
    METRICS_LISTEN, OTEL_COLLECTOR_ENDPOINT, OTEL_COLLECTOR_ENDPOINT_TLS_CERT,
    OTEL_COLLECTOR_ENDPOINT_TLS_CERT_PATH, OTEL_COLLECTOR_ENDPOINT_TLS_INSECURE, OTEL_LOGGING_DISABLED,
    OTEL_TRACING_DISABLED,
};
use crate::config::values::HostAndPort;

/// What others collect. The standard `OTEL_` variables, which are no settings of ours, add to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// The collector; its port is not 0.
    pub collector: Option<HostAndPort>,
    /// How to reach the collector, also one that a variable names.
    pub collector_tls: CollectorTls,
    /// Send no traces.
    pub tracing_disabled: bool,
    /// Send no logs.
    pub logging_disabled: bool,
    /// Where Prometheus finds the metrics.
    pub metrics_listen: Option<HostAndPort>,
}

/// How the way to the collector is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CollectorTls {
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

impl TelemetrySettings {
    pub(super) fn read(layers: &Layers) -> Result<Self, Error> {
        Ok(Self {
            collector: address(layers, &OTEL_COLLECTOR_ENDPOINT, 1)?,
            collector_tls: CollectorTls::read(layers)?,
            tracing_disabled: layers.switch(&OTEL_TRACING_DISABLED)?,
            logging_disabled: layers.switch(&OTEL_LOGGING_DISABLED)?,
            metrics_listen: address(layers, &METRICS_LISTEN, 0)?,
        })
    }
}

impl CollectorTls {
    /// No encryption wins over certificates, as in the former program.
    fn read(layers: &Layers) -> Result<Self, Error> {
        if layers.switch(&OTEL_COLLECTOR_ENDPOINT_TLS_INSECURE)? {
            return Ok(Self::Off);
        }
        let file = layers.text(&OTEL_COLLECTOR_ENDPOINT_TLS_CERT_PATH)?;
        let inline = layers.text(&OTEL_COLLECTOR_ENDPOINT_TLS_CERT)?;
        Ok(match (file, inline) {
            (Some(file), Some(_)) => {
                return Err(Error::Exclusive {
                    given: OTEL_COLLECTOR_ENDPOINT_TLS_CERT_PATH.name,
                    origin: file.origin,
                    other: OTEL_COLLECTOR_ENDPOINT_TLS_CERT.name,
                });
            }
            (Some(file), None) => Self::File(path(file)),
            (None, Some(text)) => decoded(text.value.trim()).map(Self::Text).ok_or_else(|| {
                let problem = "the value is not base64".into();
                invalid(&OTEL_COLLECTOR_ENDPOINT_TLS_CERT, &text.origin, problem)
            })?,
            (None, None) => Self::SystemRoots,
        })
    }
}

fn address(layers: &Layers, setting: &Setting, least_port: u16) -> Result<Option<HostAndPort>, Error> {
    let Some(text) = layers.text(setting)? else { return Ok(None) };
    let parsed = HostAndPort::parse(text.value.trim()).and_then(|address| {
        if address.port < least_port { Err("port 0 leads nowhere".into()) } else { Ok(address) }
    });
    parsed.map(Some).map_err(|problem| invalid(setting, &text.origin, problem))
}

/// The former program wants the URL-safe letters and no padding; `base64` on a command line writes the
/// others.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [URL_SAFE, STANDARD].iter().find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
}
