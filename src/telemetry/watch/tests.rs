#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// Collects the spans that have ended.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// The single span that ends in `work`.
fn span_of(work: impl FnOnce()) -> SpanData {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test")).with_location(false);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    let mut spans = kept.0.lock().unwrap();
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans.remove(0)
}

/// The attributes without those that the library adds.
fn attributes(span: &SpanData) -> Vec<String> {
    let ours = span.attributes.iter().filter(|it| it.key.as_str().contains('.'));
    let ours = ours.filter(|it| !it.key.as_str().starts_with("thread."));
    ours.map(|it| format!("{}={}", it.key, it.value)).collect()
}

#[test]
fn a_request_to_the_rest_api_is_a_span_with_its_name_method_and_status() {
    let answered = span_of(|| rest_call("users.create", "POST").ended(Some(201), RestOutcome::Ok));
    assert_eq!((answered.name.as_ref(), &answered.span_kind), ("users.create", &SpanKind::Client));
    let expected = ["http.request.method=POST", "http.response.status_code=201"];
    assert_eq!(attributes(&answered), expected);
    assert_eq!(answered.status, Status::Unset);

    let refused = span_of(|| rest_call("users.create", "POST").ended(Some(422), RestOutcome::Refused));
    assert!(matches!(refused.status, Status::Error { .. }), "{refused:?}");
    let declined = span_of(|| rest_call("users.create", "POST").ended(Some(201), RestOutcome::Declined));
    assert!(matches!(declined.status, Status::Error { .. }), "{declined:?}");
    assert_eq!(attributes(&declined), [&expected[..], &["error.type=declined"]].concat());
    let failed = span_of(|| rest_call("users.create", "POST").ended(None, RestOutcome::Unreachable));
    assert!(matches!(failed.status, Status::Error { .. }), "{failed:?}");
    assert_eq!(attributes(&failed), [expected[0], "error.type=unreachable"]);
    let dropped = span_of(|| drop(rest_call("users.create", "POST")));
    assert!(matches!(dropped.status, Status::Error { .. }), "{dropped:?}");
}

#[test]
fn the_span_of_a_failed_or_cancelled_statement_has_an_error_status() {
    let well = span_of(|| statement("groups.list").ended(true));
    assert_eq!((well.name.as_ref(), &well.span_kind), ("groups.list", &SpanKind::Client));
    assert_eq!(attributes(&well), ["db.system=postgresql", "db.operation.name=groups.list"]);
    assert_eq!(well.status, Status::Unset);
    for work in [|| statement("groups.list").ended(false), || drop(statement("groups.list"))] {
        assert!(matches!(span_of(work).status, Status::Error { .. }));
    }
}

#[test]
fn only_server_errors_set_the_error_status_of_a_call() {
    let ended_in = |code| {
        span_of(|| call(("a.Service", "Do"), &HeaderMap::new()).ended(code, Duration::ZERO, None)).status
    };
    for code in [Code::Ok, Code::NotFound, Code::InvalidArgument, Code::Cancelled] {
        assert_eq!(ended_in(code), Status::Unset, "{code:?}");
    }
    for code in [Code::Internal, Code::Unavailable, Code::DeadlineExceeded] {
        assert!(matches!(ended_in(code), Status::Error { .. }), "{code:?}");
    }
}

#[test]
fn an_invalid_traceparent_starts_a_new_trace() {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", "ann@example.com".parse().unwrap());
    let span = span_of(|| call(("", ""), &headers).ended(Code::Unimplemented, Duration::ZERO, None));
    assert_eq!(span.name, metrics::UNKNOWN);
    assert_eq!(span.parent_span_id, opentelemetry::trace::SpanId::INVALID);
    assert!(!format!("{span:?}").contains("ann@"), "{span:?}");
}
