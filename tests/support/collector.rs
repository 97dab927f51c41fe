//! An OpenTelemetry collector that keeps what it receives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// A collector on a free port of the loopback address.
pub(crate) struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

/// Everything that was received, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) traces: Vec<ExportTraceServiceRequest>,
    pub(crate) metrics: Vec<ExportMetricsServiceRequest>,
    pub(crate) logs: Vec<ExportLogsServiceRequest>,
    pub(crate) headers: Vec<MetadataMap>,
}

#[derive(Clone)]
struct Keeper {
    received: Arc<Mutex<Received>>,
    manners: Manners,
}

/// The behavior of a collector.
#[derive(Clone, Copy)]
enum Manners {
    /// Answers normally.
    Good,
    /// Answers normally, with this delay.
    Slow(Duration),
    /// Answers with an error, and keeps nothing.
    Bad,
}

impl Collector {
    /// Starts a collector without TLS.
    pub(crate) async fn start() -> Self {
        Self::start_with(Server::builder()).await
    }

    /// Starts a collector with TLS.
    pub(crate) async fn start_encrypted(tls: ServerTlsConfig) -> Self {
        Self::start_with(Server::builder().tls_config(tls).unwrap()).await
    }

    /// Starts a collector with this listener.
    pub(crate) fn start_on(listener: TcpListener) -> Self {
        Self::serve(Server::builder(), listener, Manners::Good)
    }

    /// Starts a collector with this delay of each answer.
    pub(crate) async fn start_slow(time: Duration) -> Self {
        Self::listen(Server::builder(), Manners::Slow(time)).await
    }

    /// Starts a collector that returns errors.
    pub(crate) async fn start_broken() -> Self {
        Self::listen(Server::builder(), Manners::Bad).await
    }

    async fn start_with(server: Server) -> Self {
        Self::listen(server, Manners::Good).await
    }

    async fn listen(server: Server, manners: Manners) -> Self {
        Self::serve(server, TcpListener::bind("127.0.0.1:0").await.unwrap(), manners)
    }

    fn serve(mut server: Server, listener: TcpListener, manners: Manners) -> Self {
        let address = listener.local_addr().unwrap();
        let received = Arc::default();
        let keeper = Keeper { received: Arc::clone(&received), manners };
        let router = server
            .add_service(TraceServiceServer::new(keeper.clone()))
            .add_service(MetricsServiceServer::new(keeper.clone()))
            .add_service(LogsServiceServer::new(keeper));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, received }
    }

    /// `host:port`
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn received(&self) -> Received {
        self.received.lock().unwrap().clone()
    }
}

impl Received {
    pub(crate) fn spans(&self) -> Vec<Span> {
        let scopes = self.traces.iter().flat_map(|request| &request.resource_spans);
        scopes.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The metrics of the last export.
    pub(crate) fn last_metrics(&self) -> Vec<Metric> {
        let scopes = self.metrics.iter().rev().take(1).flat_map(|request| &request.resource_metrics);
        scopes.flat_map(|resource| &resource.scope_metrics).flat_map(|scope| scope.metrics.clone()).collect()
    }

    pub(crate) fn records(&self) -> Vec<LogRecord> {
        let scopes = self.logs.iter().flat_map(|request| &request.resource_logs);
        scopes.flat_map(|resource| &resource.scope_logs).flat_map(|scope| scope.log_records.clone()).collect()
    }

    /// The resources of the telemetry, one per request.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        let traces = self.traces.iter().flat_map(|request| &request.resource_spans).map(|it| &it.resource);
        let metrics =
            self.metrics.iter().flat_map(|request| &request.resource_metrics).map(|it| &it.resource);
        let logs = self.logs.iter().flat_map(|request| &request.resource_logs).map(|it| &it.resource);
        traces.chain(metrics).chain(logs).filter_map(Clone::clone).collect()
    }

    /// Whether each signal has been received: traces, metrics, logs.
    pub(crate) fn signals(&self) -> [bool; 3] {
        [!self.traces.is_empty(), !self.metrics.is_empty(), !self.logs.is_empty()]
    }
}

/// The text of an attribute, or its number; an error for a number sent as text.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        Value::StringValue(text) => {
            assert!(text.parse::<i64>().is_err(), "{key} is the text {text:?}");
            Some(text.clone())
        }
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

impl Keeper {
    async fn keep<T: Default>(
        &self,
        headers: &MetadataMap,
        keep: impl FnOnce(&mut Received),
    ) -> Result<Response<T>, Status> {
        match self.manners {
            Manners::Good => {}
            Manners::Slow(time) => tokio::time::sleep(time).await,
            Manners::Bad => return Err(Status::internal("the collector is broken")),
        }
        let mut received = self.received.lock().unwrap();
        received.headers.push(headers.clone());
        keep(&mut received);
        Ok(Response::new(T::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (headers, _, request) = request.into_parts();
        self.keep(&headers, |received| received.traces.push(request)).await
    }
}

#[tonic::async_trait]
impl MetricsService for Keeper {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let (headers, _, request) = request.into_parts();
        self.keep(&headers, |received| received.metrics.push(request)).await
    }
}

#[tonic::async_trait]
impl LogsService for Keeper {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let (headers, _, request) = request.into_parts();
        self.keep(&headers, |received| received.logs.push(request)).await
    }
}
