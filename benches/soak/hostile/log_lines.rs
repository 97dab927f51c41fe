//! Callers that make the server log lines.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

use futures_util::future::join_all;

use crate::hostile::{Attack, Kind, Target, connect_from, with_token};
use crate::raw::{Raw, framed};

pub(super) const KINDS: [Kind; 3] = [
    Kind { name: "calls of unknown methods", callers: 1, attack: unknown_methods },
    Kind { name: "requests that cannot be decoded", callers: 1, attack: invalid_requests },
    Kind { name: "calls without a token from many addresses", callers: MANY, attack: many_addresses },
];

const CALLS: usize = 50;
/// How many lines about calls without a token the server logs for each address in a while.
const LINES: usize = 10;
const ADDRESSES: u16 = 1000;
/// How many of these addresses have a connection at a time. Together with the ordinary clients they stay below
/// a quarter of `--max-connections`: if more addresses have connections without a token, new connections of
/// others are closed before their first call.
const MANY: usize = 16;
const GET_METADATA: &str = "c1.connector.v2.ConnectorService/GetMetadata";

fn unknown_methods(target: Target) -> Attack {
    repeat(target, "no.such.Service/Call", &[])
}

fn invalid_requests(target: Target) -> Attack {
    repeat(target, "c1.connector.v2.GrantsService/ListGrants", &[0xff])
}

fn repeat(target: Target, path: &'static str, message: &'static [u8]) -> Attack {
    Box::pin(async move {
        let Some(raw) = with_token(target).await else { return };
        // The results do not matter.
        join_all((0..CALLS).map(|_| raw.send(path, &[], framed(message)))).await;
    })
}

fn many_addresses(target: Target) -> Attack {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    Box::pin(async move {
        let [high, low] = (NEXT.fetch_add(1, Ordering::Relaxed) % ADDRESSES).to_be_bytes();
        let Some(stream) = connect_from(Ipv4Addr::new(127, 1, high, low), target.grpc).await else { return };
        let Some(raw) = Raw::over(stream).await else { return };
        let calls = (0..LINES).map(|_| raw.send(GET_METADATA, &[], framed(&[])));
        join_all(calls).await;
    })
}
