//! Hostile callers: each kind tries to exhaust one resource. Each file has the kinds for one type of
//! resource, and [`kinds`] lists all of them.

mod frames;
mod places;
mod requests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};

use crate::raw::Raw;

/// A kind of hostile caller.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// How many callers of this kind run at a time.
    pub(crate) callers: usize,
    /// Attacks the server at the address once, and returns when the attack has failed or was answered. It
    /// must not wait for more than a few seconds.
    pub(crate) attack: fn(SocketAddr) -> Attack,
}

pub(crate) type Attack = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a caller pauses between two attacks: callers share the processors with the server.
const REST: Duration = Duration::from_millis(20);
/// The longest duration of an attack.
const LONGEST: Duration = Duration::from_secs(5);

/// The source address of hostile callers, which differs from that of honest callers.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);

/// A connection to the server, if it accepts one.
async fn connect(server: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(ADDRESS).ok()?;
    socket.connect(server).await.ok()
}

/// An HTTP/2 connection to the server.
async fn raw(server: SocketAddr) -> Option<Raw> {
    Raw::over(connect(server).await?).await
}

/// Every kind.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    requests::KINDS.into_iter().chain(frames::KINDS).chain(places::KINDS)
}

/// Repeats the attack until `end`, and returns how often it was made.
pub(crate) async fn attack(kind: Kind, server: SocketAddr, end: Instant) -> (&'static str, usize) {
    let callers = (0..kind.callers).map(|_| {
        tokio::spawn(async move {
            let mut attacks = 0;
            while Instant::now() < end {
                let _ = tokio::time::timeout(LONGEST, (kind.attack)(server)).await;
                tokio::time::sleep(REST).await;
                attacks += 1;
            }
            attacks
        })
    });
    let mut attacks = 0;
    for caller in callers.collect::<Vec<_>>() {
        attacks += caller.await.expect("a hostile caller's end");
    }
    (kind.name, attacks)
}
