//! The format of log lines.

use std::fmt::{self, Write as _};
use std::panic::Location;
use std::sync::OnceLock;

use opentelemetry::trace::SpanContext;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::telemetry::settings::LogFormat;
use crate::telemetry::watch;

/// The target of the audit events about changes in Retool. They are logged at every level.
pub(crate) const AUDIT: &str = "audit";

/// Additional fields of every line.
static FIXED: OnceLock<Map<String, Value>> = OnceLock::new();

/// Adds these fields to every line from now on. A second call does nothing.
#[cfg(feature = "lambda")]
pub(crate) fn add_fields(fields: Map<String, Value>) {
    let _ = FIXED.set(fields);
}

/// Formats events as lines.
pub(crate) struct Lines {
    pub(crate) format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(context) = watch::current() {
            fields.put_trace(&context);
        }
        let line = Line {
            time: OffsetDateTime::now_utc(),
            level: *event.metadata().level(),
            caller: caller(event.metadata().file(), event.metadata().line()),
            message: fields.message,
            fields: fields.others,
            logger: (event.metadata().target() == AUDIT).then_some(AUDIT),
        };
        writeln!(writer, "{}", line.text(self.format))
    }
}

/// A line, with its line end, that does not pass through `tracing`: the writer of the log must not wait for
/// itself, and a program that fails early has no log yet.
#[track_caller]
pub(crate) fn notice(format: LogFormat, level: Level, message: &str, fields: &[(&str, Value)]) -> Vec<u8> {
    let place = Location::caller();
    let line = Line {
        time: OffsetDateTime::now_utc(),
        level,
        caller: caller(Some(place.file()), Some(place.line())),
        message: message.to_owned(),
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        logger: None,
    };
    let mut text = line.text(format);
    text.push('\n');
    text.into_bytes()
}

struct Line {
    time: OffsetDateTime,
    level: Level,
    /// The key of the Go connector for the name of a logger.
    logger: Option<&'static str>,
    caller: String,
    message: String,
    fields: Map<String, Value>,
}

impl Line {
    fn text(self, format: LogFormat) -> String {
        match format {
            LogFormat::Json => self.json(),
            LogFormat::Console => self.console(),
        }
    }

    fn json(self) -> String {
        // Whole microseconds, so that the printed number is short.
        let microseconds = self.time.unix_timestamp_nanos() / 1_000;
        let seconds = microseconds as f64 / 1e6;
        let mut object = Map::new();
        object.insert("level".into(), self.level.as_str().to_ascii_lowercase().into());
        object.insert("ts".into(), seconds.into());
        if let Some(logger) = self.logger {
            object.insert("logger".into(), logger.into());
        }
        object.insert("caller".into(), self.caller.into());
        object.insert("msg".into(), self.message.into());
        object.extend(FIXED.get().cloned().unwrap_or_default());
        object.extend(self.fields);
        Value::Object(object).to_string()
    }

    fn console(self) -> String {
        let format =
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        let time = self.time.format(format).unwrap_or_default();
        let logger = self.logger.map(|logger| format!("{logger}\t")).unwrap_or_default();
        let mut text = format!("{time}\t{}\t{logger}{}\t{}", self.level, self.caller, self.message);
        if !self.fields.is_empty() {
            let _ = write!(text, "\t{}", Value::Object(self.fields));
        }
        text
    }
}

/// The directory and file name, in the format of the Go connector's loggers.
fn caller(file: Option<&str>, line: Option<u32>) -> String {
    let Some(file) = file else { return String::new() };
    let start = file.rmatch_indices(['/', '\\']).nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{}", &file[start..], line.unwrap_or_default())
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.others.insert(name.to_owned(), value);
            }
        }
    }
}

impl Fields {
    /// The fields of the Go connector that identify the trace of a line: the low half of the trace id and
    /// the span id, in decimal.
    fn put_trace(&mut self, context: &SpanContext) {
        let trace = context.trace_id().to_bytes();
        let low = trace[8..].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let span = u64::from_be_bytes(context.span_id().to_bytes());
        self.others.insert("dd.trace_id".into(), low.to_string().into());
        self.others.insert("dd.span_id".into(), span.to_string().into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn line() -> Line {
        let mut fields = Map::new();
        fields.insert("address".into(), "127.0.0.1:8080".into());
        Line {
            time: datetime!(2026-11-21 21:49:49.289 UTC),
            level: Level::INFO,
            logger: None,
            caller: caller(Some("src/cli/serve.rs"), Some(34)),
            message: "listening \"here\"\n".into(),
            fields,
        }
    }

    #[test]
    fn json_lines_have_the_fields_of_the_go_connector_in_order() {
        assert_eq!(
            line().json(),
            r#"{"level":"info","ts":1795297789.289,"caller":"cli/serve.rs:34","msg":"listening \"here\"\n","address":"127.0.0.1:8080"}"#
        );
    }

    #[test]
    fn console_lines_are_tab_separated() {
        let text = line().console();
        assert!(text.starts_with("2026-11-21T21:49:49.289Z\tINFO\tcli/serve.rs:34\tlistening"), "{text}");
        assert!(text.ends_with("\t{\"address\":\"127.0.0.1:8080\"}"), "{text}");
    }
}
