//! Hostile callers: each kind tries to exhaust one resource. Each file has the kinds for one type of
//! resource, and [`kinds`] lists all of them.
//!
//! They run in threads of their own, so that ordinary clients do not wait for them.

mod answers;
mod bodies;
mod connections;
mod frames;
mod headers;
mod log_lines;
mod monitoring;
mod requests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use baton_retool::proto::connector::Resource;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::ReadHalf;
use tokio::net::{TcpSocket, TcpStream};

use crate::raw::Raw;

pub(crate) use answers::{list_grants, list_grants_request};

/// The token of the ordinary clients.
pub(crate) const ORDINARY_TOKEN: &str = "ordinary-0123456789abcdef";
/// The token of the hostile callers that have one.
pub(crate) const HOSTILE_TOKEN: &str = "hostile-0123456789abcdef";

/// The ports of the attacked server.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) grpc: SocketAddr,
    pub(crate) probes: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

/// A kind of hostile caller.
struct Kind {
    name: &'static str,
    /// How many callers of this kind run at a time.
    callers: usize,
    /// Attacks the server once, and returns when the attack has failed or was answered. It is cancelled after
    /// [`LONGEST`].
    attack: fn(Target) -> Attack,
}

type Attack = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a caller pauses between two attacks: callers share the processors with the server.
const REST: Duration = Duration::from_millis(20);
/// The threads of hostile callers.
const THREADS: usize = 2;
/// The longest duration of an attack: longer than the server waits for a caller that makes no progress.
const LONGEST: Duration = Duration::from_secs(12);
/// The source addresses of hostile callers. Ordinary clients have another one.
const ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4)];

tokio::task_local! {
    /// How many connections the current caller has opened.
    static OPENED: Arc<AtomicUsize>;
}

/// A connection to the port from the next of the addresses, if the server accepts one.
async fn connect(port: SocketAddr) -> Option<TcpStream> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    connect_from(ADDRESSES[NEXT.fetch_add(1, Ordering::Relaxed) % ADDRESSES.len()], port).await
}

/// A connection from this address to the port, if the server accepts one.
pub(crate) async fn connect_from(address: Ipv4Addr, port: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    // Without this, the ports of closed connections would stay in use for a minute.
    socket.set_zero_linger().ok()?;
    socket.bind(SocketAddr::new(IpAddr::V4(address), 0)).ok()?;
    let stream = socket.connect(port).await.ok()?;
    // The part `unread` uses this function without counting.
    let _ = OPENED.try_with(|opened| opened.fetch_add(1, Ordering::Relaxed));
    Some(stream)
}

/// Reads and drops what the server sends, until it closes the connection.
async fn discard(mut reading: ReadHalf<'_>) {
    let mut answers = vec![0; 16 * 1024];
    while reading.read(&mut answers).await.is_ok_and(|length| length > 0) {}
}

/// An HTTP/2 connection without a token.
async fn without_token(target: Target) -> Option<Raw> {
    Raw::over(connect(target.grpc).await?).await
}

/// An HTTP/2 connection whose calls have a valid token.
async fn with_token(target: Target) -> Option<Raw> {
    Some(without_token(target).await?.with_token(HOSTILE_TOKEN))
}

/// Every kind.
fn kinds() -> impl Iterator<Item = Kind> {
    let kinds = requests::KINDS.into_iter().chain(bodies::KINDS).chain(answers::KINDS);
    let kinds = kinds.chain(frames::KINDS).chain(headers::KINDS).chain(connections::KINDS);
    kinds.chain(monitoring::KINDS).chain(log_lines::KINDS)
}

/// Creates what attacks need, which takes a second of processor time. The answer about the grants of `large` has
/// this size.
pub(crate) fn prepare(large: Resource, size: usize) {
    answers::prepare(large, size);
    requests::prepare();
}

/// Repeats every attack until `end`. Returns the name of each kind, and how often it attacked. An attack that
/// opened no connection does not count.
pub(crate) fn start(target: Target, end: Instant) -> JoinHandle<Vec<(&'static str, usize)>> {
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let running: Vec<_> =
                kinds().map(|kind| (kind.name, tokio::spawn(repeat(kind, target, end)))).collect();
            let mut attacks = Vec::new();
            for (name, count) in running {
                attacks.push((name, count.await.expect("the end of an attack")));
            }
            attacks
        })
    })
}

async fn repeat(kind: Kind, target: Target, end: Instant) -> usize {
    let callers = (0..kind.callers).map(|_| {
        tokio::spawn(async move {
            let mut attacks = 0;
            while Instant::now() < end {
                let latest = end.min(Instant::now() + LONGEST);
                let opened = Arc::new(AtomicUsize::new(0));
                let attack = OPENED.scope(opened.clone(), (kind.attack)(target));
                let _ = tokio::time::timeout_at(latest.into(), attack).await;
                attacks += usize::from(opened.load(Ordering::Relaxed) > 0);
                tokio::time::sleep(REST).await;
            }
            attacks
        })
    });
    let mut attacks = 0;
    for caller in callers.collect::<Vec<_>>() {
        attacks += caller.await.expect("the end of a hostile caller");
    }
    attacks
}
