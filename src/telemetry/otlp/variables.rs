//! Checks the standard `OTEL_` variables that the library reads itself. The library ignores unusable values,
//! and its own messages about them are not logged, so this module warns about them.

use std::fmt::Display;

use http::{HeaderName, HeaderValue};

/// The value of a variable that is set and not empty.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The signals, as in the names of variables.
const SIGNALS: [&str; 3] = ["TRACES", "METRICS", "LOGS"];
/// The prefix of the variables of an exporter, which can also be set for a single signal.
const OTLP: &str = "OTEL_EXPORTER_OTLP";
/// The samplers of the library.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// Numeric variables: the end of the name and the smallest valid number.
const OF_QUEUES: [(&str, u64); 4] =
    [("MAX_QUEUE_SIZE", 1), ("MAX_EXPORT_BATCH_SIZE", 1), ("SCHEDULE_DELAY", 1), ("EXPORT_TIMEOUT", 1)];
/// The interval between exports of metrics, in milliseconds.
pub(super) const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";

/// Warnings about the variables. Each is a sentence that begins with the name of a variable, and states what
/// is used instead. No warning shows a value, because it may be a secret in the wrong variable.
pub(crate) fn warnings(variable: Variable<'_>) -> Vec<String> {
    let mut found = Found { variable, warnings: Vec::new() };
    for name in ["OTEL_SDK_DISABLED".to_owned()].into_iter().chain(of_otlp("INSECURE")) {
        found.check(&name, "is neither true nor false; false is used", |text| {
            ["true", "false"].iter().any(|word| text.trim().eq_ignore_ascii_case(word))
        });
    }
    for signal in SIGNALS {
        found.exporter(signal);
    }
    for name in of_otlp("PROTOCOL") {
        found.check(&name, "is not supported; grpc is used", |text| text.trim() == "grpc");
    }
    for name in of_otlp("COMPRESSION") {
        found.check(&name, "is neither gzip nor none, and is ignored", |text| {
            ["gzip", "none"].iter().any(|word| text.eq_ignore_ascii_case(word))
        });
    }
    for name in of_otlp("CLIENT_KEY").chain(of_otlp("CLIENT_CERTIFICATE")) {
        if variable(&name).is_some() {
            found.warn(&name, "client certificates are not supported; it is ignored");
        }
    }
    for name in of_otlp("HEADERS") {
        found.headers(&name);
    }
    for name in of_otlp("TIMEOUT") {
        found.number(&name, 1);
    }
    found.number(INTERVAL, 1);
    for prefix in ["OTEL_BSP", "OTEL_BLRP"] {
        for (end, least) in OF_QUEUES {
            found.number(&format!("{prefix}_{end}"), least);
        }
    }
    found.sampler();
    found.warnings
}

/// Whether the variable of a signal allows it to be sent.
pub(super) fn is_sent(signal: &str, variable: Variable<'_>) -> bool {
    variable(&exporter_of(signal)).is_none_or(|names| exporters(&names).any(|name| name == "otlp"))
}

fn exporter_of(signal: &str) -> String {
    format!("OTEL_{signal}_EXPORTER")
}

fn exporters(names: &str) -> impl Iterator<Item = String> {
    names.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty())
}

/// The variable for all signals and those for single signals.
fn of_otlp(end: &str) -> impl Iterator<Item = String> {
    let single = SIGNALS.map(|signal| format!("{OTLP}_{signal}_{end}"));
    std::iter::once(format!("{OTLP}_{end}")).chain(single)
}

struct Found<'a> {
    variable: Variable<'a>,
    warnings: Vec<String>,
}

impl Found<'_> {
    fn warn(&mut self, name: &str, problem: impl Display) {
        self.warnings.push(format!("{name}: {problem}"));
    }

    /// Warns about an invalid value.
    fn check(&mut self, name: &str, problem: impl Display, is_good: impl FnOnce(&str) -> bool) {
        if (self.variable)(name).is_some_and(|text| !is_good(&text)) {
            self.warn(name, format!("the value {problem}"));
        }
    }

    fn number(&mut self, name: &str, least: u64) {
        let Some(text) = (self.variable)(name) else { return };
        match text.parse::<u64>() {
            Ok(number) if number >= least => {}
            Ok(_) if name == INTERVAL => self.warn(name, "the value is too small; a minute is used"),
            Ok(_) => {
                self.warn(
                    name,
                    format!("nothing can be sent with this value; set {least} or more, or unset it"),
                );
            }
            Err(_) => self.warn(name, "the value is not a whole number, and is ignored"),
        }
    }

    fn exporter(&mut self, signal: &str) {
        let name = exporter_of(signal);
        let Some(names) = (self.variable)(&name) else { return };
        let what = signal.to_ascii_lowercase();
        for other in exporters(&names).filter(|name| !["otlp", "none"].contains(&name.as_str())) {
            let instead = match (other.as_str(), signal) {
                ("prometheus", "METRICS") => "; for Prometheus set --metrics-listen",
                _ => "",
            };
            self.warn(&name, format!("an exporter other than otlp and none receives no {what}{instead}"));
        }
    }

    fn headers(&mut self, name: &str) {
        let Some(text) = (self.variable)(name) else { return };
        for (index, entry) in text.split_terminator(',').enumerate() {
            let good = entry.trim().split_once('=').is_some_and(|(key, value)| {
                key.trim().parse::<HeaderName>().is_ok() && value.trim().parse::<HeaderValue>().is_ok()
            });
            if !good {
                let number = index + 1;
                self.warn(name, format!("entry {number} is not a valid name=value header, and is ignored"));
            }
        }
    }

    fn sampler(&mut self) {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
        let known = SAMPLERS.join(", ");
        let problem = format!("is not one of {known}; parentbased_always_on is used");
        self.check(NAME, problem, |text| SAMPLERS.contains(&text));
        let by_ratio = (self.variable)(NAME).is_some_and(|sampler| sampler.ends_with("traceidratio"));
        let ratio = (self.variable)(ARGUMENT);
        if by_ratio && ratio.is_none() {
            self.warn(ARGUMENT, "is not set; every trace is sampled");
        } else if by_ratio {
            self.check(ARGUMENT, "is not a number from 0 to 1; set one", |text| {
                text.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio))
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn warned(name: &str, value: &str) -> Vec<String> {
        warnings(&|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn warns_about_variables_that_the_library_would_ignore() {
        for (name, value, words) in [
            ("OTEL_SDK_DISABLED", "1", "neither true nor false"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "yes", "neither true nor false"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "the value is not supported; grpc is used"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf", "is not supported"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli", "neither gzip nor none"),
            ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "zstd", "neither gzip nor none"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,bad key=s3cret", "entry 2 is not a valid name=value"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "s3cret", "entry 1 is not a valid name=value"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "abc", "the value is not a whole number"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "nothing can be sent with this value"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k", "client certificates are not supported"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0", "a minute is used"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "nothing can be sent with this value; set 1 or more"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "-1", "is not a whole number"),
            ("OTEL_TRACES_SAMPLER", "nonsense", "is not one of always_on, always_off"),
            ("OTEL_TRACES_SAMPLER", "traceidratio", "every trace is sampled"),
            ("OTEL_METRICS_EXPORTER", "prometheus", "receives no metrics; for Prometheus set"),
            ("OTEL_TRACES_EXPORTER", "console", "receives no traces"),
        ] {
            let warned = warned(name, value);
            assert_eq!(warned.len(), 1, "{name}={value}: {warned:?}");
            assert!(warned[0].starts_with("OTEL_") && warned[0].contains(words), "{name}: {warned:?}");
            assert!(!warned[0].contains("s3cret"), "{warned:?}");
        }
        let ratio = |name: &str| match name {
            "OTEL_TRACES_SAMPLER" => Some("parentbased_traceidratio".to_owned()),
            "OTEL_TRACES_SAMPLER_ARG" => Some("2".to_owned()),
            _ => None,
        };
        assert_eq!(
            warnings(&ratio),
            ["OTEL_TRACES_SAMPLER_ARG: the value is not a number from 0 to 1; set one"]
        );
    }

    #[test]
    fn a_secret_in_the_wrong_variable_is_not_repeated() {
        const SECRET: &str = "https://u:hunter2@c";
        let warned = warnings(&|_| Some(SECRET.to_owned()));
        assert!(warned.len() > 30, "{warned:#?}");
        assert!(warned.iter().all(|warning| !warning.contains("hunter2")), "{warned:#?}");
    }

    #[test]
    fn does_not_warn_about_valid_variables() {
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "False"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret, b=c%20d,"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_SOMETHING_ELSE", "x"),
        ] {
            assert_eq!(warned(name, value), [""; 0], "{name}={value}");
        }
    }

    #[test]
    fn a_signal_is_sent_unless_its_variable_lists_only_other_exporters() {
        for (value, sent) in [
            (None, true),
            (Some("otlp"), true),
            (Some("console, OTLP"), true),
            (Some("none"), false),
            (Some("None"), false),
            (Some("console"), false),
        ] {
            assert_eq!(is_sent("TRACES", &|_| value.map(str::to_owned)), sent, "{value:?}");
        }
    }
}
