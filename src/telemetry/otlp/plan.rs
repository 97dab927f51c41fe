//! The signals to send and their collectors: from our settings, which take precedence, and the standard
//! `OTEL_` variables.

use std::path::Path;

use opentelemetry_otlp::ExporterBuildError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::address::{HostAndPort, parse_host};
use crate::operator_file::{self, shown};
use crate::telemetry::otlp::error::Error;
use crate::telemetry::otlp::variables::{INTERVAL, Variable, is_sent};
use crate::telemetry::settings::{CollectorTls, TelemetrySettings};
use crate::tls_roots;

/// The names of our settings in errors.
const COLLECTOR: &str = "otel-collector-endpoint";
const CA_FILE: &str = "otel-collector-endpoint-tls-cert-path";
const CA_TEXT: &str = "otel-collector-endpoint-tls-cert";

/// The signals that go to a collector, and the collector of each.
pub(crate) struct Plan {
    pub(super) traces: Option<Target>,
    pub(super) metrics: Option<Target>,
    pub(super) logs: Option<Target>,
    /// Whether the interval between exports of metrics is 0, which is invalid.
    pub(super) no_interval: bool,
}

/// A collector.
pub(super) struct Target {
    /// The URL with its scheme.
    pub(super) endpoint: String,
    /// `None` for a collector without TLS.
    pub(super) tls: Option<ClientTlsConfig>,
    /// The setting or variable that errors name.
    setting: String,
}

impl Plan {
    /// Creates the plan; `None` if no signal is on or there is no collector. Both switches together turn
    /// everything off, including metrics, as in the Go connector.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::NoCertificate`] and [`Error::Endpoint`].
    pub(crate) fn new(settings: &TelemetrySettings, variable: Variable<'_>) -> Result<Option<Self>, Error> {
        let all_disabled = settings.tracing_disabled && settings.logging_disabled;
        if all_disabled || on(variable, "OTEL_SDK_DISABLED") {
            return Ok(None);
        }
        let target = |disabled: bool, signal: &str| {
            if disabled || !is_sent(signal, variable) {
                return Ok(None);
            }
            Given::find(settings, signal, variable)
                .map(|given| Target::new(given, settings, signal, variable))
                .transpose()
        };
        let plan = Self {
            traces: target(settings.tracing_disabled, "TRACES")?,
            metrics: target(false, "METRICS")?,
            logs: target(settings.logging_disabled, "LOGS")?,
            no_interval: variable(INTERVAL).is_some_and(|text| text.parse() == Ok(0)),
        };
        Ok(plan.targets().iter().any(|(_, target)| target.is_some()).then_some(plan))
    }

    /// Whether a setting or variable names a collector.
    pub(crate) fn is_wanted(settings: &TelemetrySettings, variable: Variable<'_>) -> bool {
        ["TRACES", "METRICS", "LOGS"].iter().any(|signal| Given::find(settings, signal, variable).is_some())
    }

    fn targets(&self) -> [(&'static str, Option<&Target>); 3] {
        [("traces", self.traces.as_ref()), ("metrics", self.metrics.as_ref()), ("logs", self.logs.as_ref())]
    }

    /// Describes the plan for the log.
    pub(crate) fn describe(&self) -> String {
        let sent: Vec<_> = self
            .targets()
            .into_iter()
            .filter_map(|(signal, target)| {
                Some(format!("{signal} to {}", without_credentials(&target?.endpoint)))
            })
            .collect();
        format!("sending over OTLP/gRPC: {}", sent.join(", "))
    }
}

impl Target {
    fn new(
        given: Given,
        settings: &TelemetrySettings,
        signal: &str,
        variable: Variable<'_>,
    ) -> Result<Self, Error> {
        let Given { setting, endpoint } = given;
        // The library would show the whole text, and accept other schemes too.
        let is_url = names_a_host(&endpoint) && Endpoint::from_shared(endpoint.clone()).is_ok();
        let encrypted = match endpoint.split_once("://") {
            Some(("http", _)) if is_url => false,
            Some(("https", _)) if is_url => true,
            _ => return Err(Error::Endpoint { setting }),
        };
        if !encrypted {
            return Ok(Self { endpoint, tls: None, setting });
        }
        let tls = ClientTlsConfig::new();
        let trusting = |pem| tls.clone().ca_certificate(Certificate::from_pem(pem));
        let named = || of_signal("CERTIFICATE", signal, variable);
        let (tls, setting) = match &settings.collector_tls {
            CollectorTls::File(path) => (trusting(pem_file(CA_FILE, path)?), CA_FILE.to_owned()),
            CollectorTls::Text(text) => {
                (trusting(pem(text.clone(), CA_TEXT, "its value")?), CA_TEXT.to_owned())
            }
            CollectorTls::SystemRoots | CollectorTls::Off => match named() {
                Some((name, path)) => (trusting(pem_file(&name, Path::new(&path))?), name),
                None => (tls.with_native_roots(), setting),
            },
        };
        Ok(Self { endpoint, tls: Some(tls), setting })
    }

    /// Converts an error of the library to an error with the setting.
    pub(super) fn failed(&self) -> impl FnOnce(ExporterBuildError) -> Error + use<> {
        let setting = self.setting.clone();
        |source| Error::Exporter { setting, source }
    }
}

/// The collector of a signal, and the setting that names it.
struct Given {
    setting: String,
    /// The URL with its scheme.
    endpoint: String,
}

impl Given {
    fn find(settings: &TelemetrySettings, signal: &str, variable: Variable<'_>) -> Option<Self> {
        let insecure = settings.collector_tls == CollectorTls::Off;
        let with_scheme = |insecure: bool, address: &str| {
            if insecure { format!("http://{address}") } else { format!("https://{address}") }
        };
        if let Some(collector) = &settings.collector {
            let endpoint = with_scheme(insecure, &collector.to_string());
            return Some(Self { setting: COLLECTOR.to_owned(), endpoint });
        }
        let (setting, given) = of_signal("ENDPOINT", signal, variable)?;
        let given = given.trim();
        let insecure =
            insecure || of_signal("INSECURE", signal, variable).is_some_and(|(_, text)| is_on(&text));
        let endpoint = if given.contains("://") { given.to_owned() } else { with_scheme(insecure, given) };
        Some(Self { setting, endpoint })
    }
}

/// The name and the value of the variable for this signal only or, without it, of the variable for all
/// signals.
fn of_signal(end: &str, signal: &str, variable: Variable<'_>) -> Option<(String, String)> {
    [format!("OTEL_EXPORTER_OTLP_{signal}_{end}"), format!("OTEL_EXPORTER_OTLP_{end}")]
        .into_iter()
        .find_map(|name| variable(&name).map(|value| (name, value)))
}

fn on(variable: Variable<'_>, name: &str) -> bool {
    variable(name).is_some_and(|value| is_on(&value))
}

fn is_on(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("true")
}

fn pem_file(setting: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::File { setting: setting.to_owned(), path: shown(path).to_string(), source };
    pem(operator_file::read(path).map_err(failed)?, setting, &shown(path).to_string())
}

/// Returns the text if it has a certificate that can be a trust anchor for a collector.
fn pem(text: Vec<u8>, setting: &str, place: &str) -> Result<Vec<u8>, Error> {
    let certificates = CertificateDer::pem_slice_iter(&text).map_while(Result::ok);
    if tls_roots::usable_anchors(certificates).is_empty() {
        return Err(Error::NoCertificate { setting: setting.to_owned(), place: place.to_owned() });
    }
    Ok(text)
}

/// A valid endpoint without credentials, which some users put into URLs.
fn without_credentials(endpoint: &str) -> String {
    let (scheme, host) = parts(endpoint);
    format!("{scheme}://{host}")
}

/// Whether the endpoint has a host, and a number if it has a port. The library accepts any text as a port,
/// such as a password without the host after it.
fn names_a_host(endpoint: &str) -> bool {
    let (_, host) = parts(endpoint);
    parse_host(host).is_ok() || host.parse::<HostAndPort>().is_ok()
}

/// The scheme, and the host with its port, if any.
fn parts(endpoint: &str) -> (&str, &str) {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    (scheme, authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn settings(collector: bool) -> TelemetrySettings {
        let host = HostAndPort { host: "c".into(), port: 4317 };
        let tls = CollectorTls::Off;
        TelemetrySettings { collector: collector.then_some(host), collector_tls: tls, ..Default::default() }
    }

    /// The plan in the format of the log.
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
    fn nothing_is_sent_without_a_collector() {
        assert_eq!(plan(&settings(false), &[("OTEL_SERVICE_NAME", "x")]), None);
    }

    #[test]
    fn the_flag_overrides_the_variables() {
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
    fn the_variable_of_a_signal_applies_to_it_only() {
        let variables = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1")];
        let expected = "sending over OTLP/gRPC: traces to http://t:1";
        assert_eq!(plan(&settings(false), &variables).as_deref(), Some(expected));
    }

    #[test]
    fn each_switch_turns_off_its_signal_and_both_turn_off_everything() {
        let with = |tracing_disabled, logging_disabled| {
            let settings = TelemetrySettings { tracing_disabled, logging_disabled, ..settings(true) };
            plan(&settings, &[]).map(|text| text.replace(" to http://c:4317", ""))
        };
        assert_eq!(with(true, false).as_deref(), Some("sending over OTLP/gRPC: metrics, logs"));
        assert_eq!(with(false, true).as_deref(), Some("sending over OTLP/gRPC: traces, metrics"));
        assert_eq!(with(true, true), None);
    }

    #[test]
    fn standard_variables_turn_signals_off() {
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
            assert_eq!(without_credentials(endpoint), "http://c:1");
        }
    }

    #[test]
    fn rejects_an_invalid_url_without_showing_its_credentials() {
        for given in [
            "http://ann:s3cret@a collector:4317",
            "https://ann:s3cret",
            "ann:s3cret",
            "x://s3cret",
            "s3cret://c:1",
            "http://a b/s3cret",
            "https://ann:s3cret@c:s3cret",
        ] {
            let only = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| given.to_owned());
            let error = Plan::new(&TelemetrySettings::default(), &only).err().unwrap().to_string();
            assert!(error.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: "), "{error}");
            assert!(!error.contains("s3cret"), "{given}: {error}");
        }
    }

    #[test]
    fn rejects_other_schemes_and_names_the_variable() {
        let name = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT";
        for given in ["grpc://c:4317", "unix:///c", "ftp://c"] {
            let only = |asked: &str| (asked == name).then(|| given.to_owned());
            let error = Plan::new(&TelemetrySettings::default(), &only).err().unwrap().to_string();
            assert!(error.starts_with(&format!("{name}: ")) && error.contains("https://"), "{error}");
        }
    }

    #[test]
    fn a_signal_can_have_its_own_certificate() {
        let variables = |asked: &str| match asked {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("https://c:4317".to_owned()),
            "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE" => Some("/no/such.pem".to_owned()),
            _ => None,
        };
        let error = Plan::new(&TelemetrySettings::default(), &variables).err().unwrap().to_string();
        let start = "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE: cannot read the certificates in /no/such.pem: ";
        assert!(error.starts_with(start), "{error}");
    }

    #[test]
    fn rejects_a_text_or_file_without_a_certificate() {
        let text = TelemetrySettings { collector_tls: CollectorTls::Text(b"ABC".to_vec()), ..settings(true) };
        let error = Plan::new(&text, &|_| None).err().unwrap().to_string();
        assert_eq!(error, "otel-collector-endpoint-tls-cert: no PEM certificate in its value");
        let missing = CollectorTls::File("/no/such/file.pem".into());
        let missing = TelemetrySettings { collector_tls: missing, ..settings(true) };
        let error = Plan::new(&missing, &|_| None).err().unwrap().to_string();
        let start =
            "otel-collector-endpoint-tls-cert-path: cannot read the certificates in /no/such/file.pem: ";
        assert!(error.starts_with(start), "{error}");
    }
}
