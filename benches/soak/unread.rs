//! Clients that request large answers and read none of them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::hostile::{connect_from, list_grants, list_grants_request};
use crate::raw::{END_STREAM, HEADERS};
use crate::support::cluster::Cluster;
use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;
use crate::{MIB, chart, clients};

/// The values of `--max-requests`; `None` stands for the chart's settings.
const MAX_REQUESTS: [Option<u32>; 2] = [None, Some(512)];
/// The most memory of the server in MiB: half of the chart's limit.
const MEMORY: u64 = 192;
/// How many more calls are made than are allowed.
const MORE: u32 = 32;
/// How many calls are made on one connection.
const CALLS: u32 = 8;
/// The callers have several addresses, because one address gets only a part of the limits.
const ADDRESSES: u32 = 4;
/// The longest duration of one measurement: callers are disconnected and return a few times.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a caller pauses before it connects again.
const PAUSE: Duration = Duration::from_millis(20);

/// An organization with answers of the largest size.
const SIZES: Sizes = Sizes { users: 20_000, groups: 60, pages: 20, resources: 5 };

/// Measures the memory, and returns the missed targets.
pub(crate) async fn run(cluster: &Arc<Cluster>, length: Duration) -> Vec<String> {
    let database = Database::seeded_on(Arc::clone(cluster), SIZES).await;
    let role = database.documented_role(&[]).await;
    let mut missed = Vec::new();
    println!("clients that read no answers");
    for max_requests in MAX_REQUESTS {
        let mut flags = chart::flags();
        if let Some(max_requests) = max_requests {
            flags.retain(|flag| !flag.starts_with("--max-"));
            flags.push(format!("--max-requests={max_requests}"));
        }
        let max_requests = flags.iter().find_map(|flag| flag.strip_prefix("--max-requests=")?.parse().ok());
        let max_requests: u32 = max_requests.expect("--max-requests");
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::start_quietly(&database.url_as(&role), &flags);
        // Also makes the server read a snapshot of access.
        let (large, size) = clients::largest(&server, None, SIZES).await;
        let request = list_grants_request(large);
        let before = server.memory().expect("the status in /proc") / MIB;
        let (calls, refused) =
            read_nothing(&server, &request, max_requests + MORE, length.min(LONGEST)).await;
        let highest = server.peak_memory().expect("the status in /proc") / MIB;
        println!("  --max-requests {max_requests}: {calls} calls, {refused} of them refused");
        println!(
            "    largest answer, KiB: {}; RSS, MiB: {before} before, {highest} at the most",
            size / 1024
        );
        let log = server.logs();
        let refusals = log.iter().filter(|line| line["grpc.code"] == "Unavailable");
        let reasons: BTreeSet<_> = refusals.filter_map(|line| line["error"].as_str()).collect();
        for reason in reasons {
            println!("    refused: {reason}");
        }
        if refused == 0 {
            missed.push(format!("--max-requests {max_requests}: no call was refused"));
        }
        if highest > MEMORY {
            missed.push(format!("--max-requests {max_requests}: the server used more than {MEMORY} MiB"));
        }
    }
    missed
}

/// Keeps this many calls in progress without reading their answers. Returns how many calls were made, and how
/// many of them were refused.
async fn read_nothing(server: &Server, request: &Bytes, calls: u32, length: Duration) -> (usize, usize) {
    let (end, port) = (Instant::now() + length, server.address());
    let (made, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let callers = (0..calls.div_ceil(CALLS)).map(|number| {
        let (made, refused, request) = (Arc::clone(&made), Arc::clone(&refused), request.clone());
        let address = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + number % ADDRESSES).expect("few addresses"));
        tokio::spawn(async move {
            while Instant::now() < end {
                if let Some(stream) = connect_from(address, port).await
                    && let Some(mut stream) = list_grants(stream, &request, 0, CALLS).await
                {
                    made.fetch_add(CALLS as usize, Ordering::Relaxed);
                    let ended = count_ended(&mut stream, &refused);
                    let _ = tokio::time::timeout_at(end.into(), ended).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("the end of a caller");
    }
    (made.load(Ordering::Relaxed), refused.load(Ordering::Relaxed))
}

/// Counts the calls that end until the server closes the connection. Their answers have no room in the window,
/// so a call that ends was refused.
async fn count_ended(stream: &mut TcpStream, ended: &AtomicUsize) {
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        if stream.read_exact(&mut vec![0; length as usize]).await.is_err() {
            return;
        }
        if head[3] == HEADERS && head[4] & END_STREAM != 0 {
            ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}
