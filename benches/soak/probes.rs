//! Requests of the kubelet and of Prometheus, and the values of metrics.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How often each path is requested.
const PERIOD: Duration = Duration::from_secs(1);
/// `timeoutSeconds` of the chart's probes.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The results of the requests of one path.
#[derive(Default)]
pub(crate) struct Probes {
    pub(crate) answered: usize,
    /// How often each failure occurred.
    pub(crate) failures: BTreeMap<String, usize>,
    pub(crate) slowest: Duration,
}

/// Requests the path once a second until `end`.
pub(crate) async fn run(address: SocketAddr, path: &str, end: Instant) -> Probes {
    let mut probes = Probes::default();
    while Instant::now() < end {
        let began = Instant::now();
        match get(address, path).await {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
                probes.answered += 1;
                probes.slowest = probes.slowest.max(began.elapsed());
            }
            Ok(answer) => probes.failed(answer.lines().next().unwrap_or("an empty answer")),
            Err(error) => probes.failed(&error.to_string()),
        }
        tokio::time::sleep_until((began + PERIOD).into()).await;
    }
    probes
}

impl Probes {
    fn failed(&mut self, problem: &str) {
        *self.failures.entry(problem.to_owned()).or_default() += 1;
    }
}

/// The whole answer to a GET request.
async fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    timeout(TIMEOUT, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The number of log lines that were lost because the queue was full, and of calls that were answered with
/// Internal; `None` if the metrics cannot be read.
pub(crate) async fn counts(metrics: SocketAddr) -> Option<(u64, u64)> {
    let text = get(metrics, "/metrics").await.ok()?;
    let sum = |metric: &str, label: &str| {
        let series = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    let dropped = sum("baton_retool_log_lines_lost_total{", "\"queue_full\"");
    Some((dropped, sum("baton_retool_grpc_requests_total{", "code=\"Internal\"")))
}
