//! What is to be sent where: our settings, which win, and the standard `OTEL_` variables.

use std::fs;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::Error;
use crate::config::{CollectorTls, TelemetrySettings};

/// Which signals go to a collector, and to which.
pub(in crate::telemetry) struct Plan {
    pub(super) traces: Option<Target>,
    pub(super) metrics: Option<Target>,
    pub(super) logs: Option<Target>,
}

/// A collector.
pub(super) struct Target {
    /// With its scheme.
    pub(super) endpoint: String,
    /// Nothing for one that is reached without encryption.
    pub(super) tls: Option<ClientTlsConfig>,
}

/// The value of a variable that is set and not empty.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Plan {
    /// Nothing when there is nothing to send or nobody to send it to. Both switches together turn
    /// everything off, metrics too, as in the former program.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::NoCertificate`].
    pub(in crate::telemetry) fn new(
        settings: &TelemetrySettings,
        variable: Variable<'_>,
    ) -> Result<Option<Self>, Error> {
        let all_disabled = settings.tracing_disabled && settings.logging_disabled;
        if all_disabled || on(variable, "OTEL_SDK_DISABLED") {
            return Ok(None);
        }
        let target = |disabled: bool, signal: &str| {
            let exporter = variable(&format!("OTEL_{signal}_EXPORTER"));
            if disabled || exporter.is_some_and(|name| name.trim().eq_ignore_ascii_case("none")) {
                return Ok(None);
            }
            endpoint(settings, signal, variable)
                .map(|endpoint| Target::new(endpoint, settings, variable))
                .transpose()
        };
        let plan = Self {
            traces: target(settings.tracing_disabled, "TRACES")?,
            metrics: target(false, "METRICS")?,
            logs: target(settings.logging_disabled, "LOGS")?,
        };
        Ok(plan.targets().iter().any(|(_, target)| target.is_some()).then_some(plan))
    }

    fn targets(&self) -> [(&'static str, Option<&Target>); 3] {
        [("traces", self.traces.as_ref()), ("metrics", self.metrics.as_ref()), ("logs", self.logs.as_ref())]
    }

    /// The protocol that a variable asks for in vain.
    pub(in crate::telemetry) fn unspoken(variable: Variable<'_>) -> Option<String> {
        variable("OTEL_EXPORTER_OTLP_PROTOCOL").filter(|protocol| protocol.trim() != "grpc")
    }

    /// For the log.
    pub(in crate::telemetry) fn describe(&self) -> String {
        let sent: Vec<_> = self
            .targets()
            .into_iter()
            .filter_map(|(signal, target)| Some(format!("{signal} to {}", shown(&target?.endpoint))))
            .collect();
        format!("sending over OTLP/gRPC: {}", sent.join(", "))
    }
}

impl Target {
    fn new(endpoint: String, settings: &TelemetrySettings, variable: Variable<'_>) -> Result<Self, Error> {
        // The library would quote all of it.
        if Endpoint::from_shared(endpoint.clone()).is_err() {
            return Err(Error::Endpoint(shown(&endpoint)));
        }
        if endpoint.starts_with("http://") {
            return Ok(Self { endpoint, tls: None });
        }
        let tls = ClientTlsConfig::new();
        let authorities = |pem| tls.clone().ca_certificate(Certificate::from_pem(pem));
        let tls = match (&settings.collector_tls, variable("OTEL_EXPORTER_OTLP_CERTIFICATE")) {
            (CollectorTls::File(path), _) => authorities(pem_file(&path.display().to_string())?),
            (CollectorTls::Text(text), _) => {
                let name = "the value of otel-collector-endpoint-tls-cert";
                authorities(pem(text.clone(), name)?)
            }
            (_, Some(path)) => authorities(pem_file(&path)?),
            (CollectorTls::SystemRoots | CollectorTls::Off, None) => tls.with_native_roots(),
        };
        Ok(Self { endpoint, tls: Some(tls) })
    }
}

/// Where a signal goes, with a scheme.
fn endpoint(settings: &TelemetrySettings, signal: &str, variable: Variable<'_>) -> Option<String> {
    let insecure = settings.collector_tls == CollectorTls::Off;
    let with_scheme = |insecure: bool, address: &str| {
        if insecure { format!("http://{address}") } else { format!("https://{address}") }
    };
    if let Some(collector) = &settings.collector {
        return Some(with_scheme(insecure, &collector.to_string()));
    }
    let given = variable(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"))?;
    let given = given.trim();
    let insecure = insecure || on(variable, "OTEL_EXPORTER_OTLP_INSECURE");
    Some(if given.contains("://") { given.to_owned() } else { with_scheme(insecure, given) })
}

fn on(variable: Variable<'_>, name: &str) -> bool {
    variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

fn pem_file(path: &str) -> Result<Vec<u8>, Error> {
    let text = fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    pem(text, path)
}

/// The text, if there is a certificate in it.
fn pem(text: Vec<u8>, name: &str) -> Result<Vec<u8>, Error> {
    match CertificateDer::pem_slice_iter(&text).next() {
        Some(Ok(_)) => Ok(text),
        _ => Err(Error::NoCertificate(name.to_owned())),
    }
}

/// An endpoint without the credentials that people put into URLs, though they have no place there.
fn shown(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    format!("{scheme}://{}", authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::HostAndPort;

    fn settings(collector: bool) -> TelemetrySettings {
        let host = HostAndPort { host: "c".into(), port: 4317 };
        let tls = CollectorTls::Off;
        TelemetrySettings { collector: collector.then_some(host), collector_tls: tls, ..Default::default() }
    }

    /// What goes where, in the log's words.
    fn plan(settings: &TelemetrySettings, variables: &[(&str, &str)]) -> Option<String> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        Plan::new(settings, &variable).unwrap().map(|plan| plan.describe())
    }

    fn all_to(endpoint: &str) -> Option<String> {
        Some(format!(
            "sending over OTLP/gRPC: traces to {endpoint}, metrics to {endpoint}, logs to {endpoint}"
        ))
    }

    #[test]
    fn nobody_is_sent_anything_unasked() {
        assert_eq!(plan(&settings(false), &[("OTEL_SERVICE_NAME", "x")]), None);
    }

    #[test]
    fn the_flag_wins_over_the_variables() {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:4317")];
        assert_eq!(plan(&settings(true), &variables), all_to("http://c:4317"));
        assert_eq!(plan(&settings(false), &variables), all_to("http://other:4317"));
    }

    #[test]
    fn a_variable_without_a_scheme_gets_one() {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "other:4317")];
        assert_eq!(plan(&settings(false), &variables), all_to("http://other:4317"));
        let encrypted = TelemetrySettings { collector_tls: CollectorTls::SystemRoots, ..settings(false) };
        assert_eq!(plan(&encrypted, &variables), all_to("https://other:4317"));
        let variables = [variables[0], ("OTEL_EXPORTER_OTLP_INSECURE", "true")];
        assert_eq!(plan(&encrypted, &variables), all_to("http://other:4317"));
    }

    #[test]
    fn a_signals_own_variable_is_for_it_alone() {
        let variables = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1")];
        let expected = "sending over OTLP/gRPC: traces to http://t:1";
        assert_eq!(plan(&settings(false), &variables).as_deref(), Some(expected));
    }

    #[test]
    fn each_switch_works_alone_and_both_turn_everything_off() {
        let with = |tracing_disabled, logging_disabled| {
            let settings = TelemetrySettings { tracing_disabled, logging_disabled, ..settings(true) };
            plan(&settings, &[]).map(|text| text.replace(" to http://c:4317", ""))
        };
        assert_eq!(with(true, false).as_deref(), Some("sending over OTLP/gRPC: metrics, logs"));
        assert_eq!(with(false, true).as_deref(), Some("sending over OTLP/gRPC: traces, metrics"));
        assert_eq!(with(true, true), None);
    }

    #[test]
    fn the_standard_switches_work() {
        assert_eq!(plan(&settings(true), &[("OTEL_SDK_DISABLED", "True")]), None);
        assert_eq!(plan(&settings(true), &[("OTEL_SDK_DISABLED", "1")]), all_to("http://c:4317"));
        let none = |signal| plan(&settings(true), &[(signal, "none")]).unwrap();
        assert!(!none("OTEL_METRICS_EXPORTER").contains("metrics"));
        assert!(!none("OTEL_TRACES_EXPORTER").contains("traces"));
        assert!(!none("OTEL_LOGS_EXPORTER").contains("logs"));
    }

    #[test]
    fn credentials_in_an_endpoint_are_not_shown() {
        for endpoint in ["http://ann:s3cret@c:1/s3cret?s3cret", "http://s3cret@c:1"] {
            assert_eq!(shown(endpoint), "http://c:1");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_credentials() {
        let variable = |_: &str| Some("http://ann:s3cret@a collector:4317".to_owned());
        let settings = TelemetrySettings::default();
        let only_endpoint = |name: &str| variable(name).filter(|_| name == "OTEL_EXPORTER_OTLP_ENDPOINT");
        let error = Plan::new(&settings, &only_endpoint).err().unwrap().to_string();
        assert!(error.contains("a collector:4317") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let text = TelemetrySettings { collector_tls: CollectorTls::Text(b"ABC".to_vec()), ..settings(true) };
        let error = Plan::new(&text, &|_| None).err().unwrap().to_string();
        assert_eq!(error, "no PEM certificate in the value of otel-collector-endpoint-tls-cert");
        let missing = CollectorTls::File("/no/such/file".into());
        let missing = TelemetrySettings { collector_tls: missing, ..settings(true) };
        let error = Plan::new(&missing, &|_| None).err().unwrap().to_string();
        assert!(error.starts_with("cannot read the certificates in /no/such/file: "), "{error}");
    }
}
