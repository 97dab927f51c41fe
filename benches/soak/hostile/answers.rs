//! Callers that have a token and leave answers unread.

use std::sync::OnceLock;
use std::time::Duration;

use baton_retool::proto::connector::{GrantsServiceListGrantsRequest, Resource};
use prost::Message;
use prost::bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hostile::{Attack, HOSTILE_TOKEN, Kind, Target, connect, without_token};
use crate::raw::{
    DATA, END_HEADERS, END_STREAM, GREETING, HEADERS, SETTINGS, WINDOW_UPDATE, call_headers, frame, framed,
};

pub(super) const KINDS: [Kind; 4] = [
    Kind { name: "unread answers", callers: 2, attack: unread },
    Kind { name: "answers read one byte at a time", callers: 2, attack: read_by_byte },
    Kind { name: "answers whose last byte is unread", callers: 1, attack: last_byte_unread },
    Kind { name: "health watches", callers: 2, attack: watches },
];

/// How many calls are made on one connection: as many as the server announces.
const CALLS: u32 = 32;
/// How many of them are read byte by byte. More of them would exceed the number of frames that the server
/// allows.
const READ_BY_BYTE: u32 = 8;
const BYTE: Duration = Duration::from_millis(100);
/// The window of a connection: larger than all answers.
const WINDOW: u32 = 1 << 30;

/// The request for a large answer, and the length of the answer in its frames.
static REQUEST: OnceLock<(Bytes, u32)> = OnceLock::new();

/// Sets the resource whose grants are requested, and the size of the answer.
pub(super) fn prepare(large: Resource, size: usize) {
    let length = u32::try_from(framed(&[]).len() + size).expect("a short answer");
    REQUEST.get_or_init(|| (list_grants_request(large), length));
}

pub(crate) fn list_grants_request(on: Resource) -> Bytes {
    framed(&GrantsServiceListGrantsRequest { resource: Some(on), ..Default::default() }.encode_to_vec())
}

/// Opens a connection and makes calls on it, each with this window for its answer.
async fn call(target: Target, window: u32, calls: u32) -> Option<TcpStream> {
    let stream = connect(target.grpc).await?;
    list_grants(stream, &REQUEST.get()?.0, window, calls).await
}

/// Makes calls with this request on a new connection, each with this window for its answer.
pub(crate) async fn list_grants(
    mut stream: TcpStream,
    request: &Bytes,
    window: u32,
    calls: u32,
) -> Option<TcpStream> {
    let authorization = format!("Bearer {HOSTILE_TOKEN}");
    let headers =
        call_headers("/c1.connector.v2.GrantsService/ListGrants", &[("authorization", &authorization)]);
    let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
    let mut bytes = [GREETING, &frame(SETTINGS, 0, 0, &setting)].concat();
    bytes.extend(frame(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes()));
    for number in 0..calls {
        bytes.extend(frame(HEADERS, END_HEADERS, 2 * number + 1, &headers));
        bytes.extend(frame(DATA, END_STREAM, 2 * number + 1, request));
    }
    stream.write_all(&bytes).await.ok()?;
    Some(stream)
}

/// Reads frames until the server closes the connection.
async fn read_all(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut bytes = vec![0; 64 * 1024];
    while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
}

fn unread(target: Target) -> Attack {
    Box::pin(async move {
        let Some(mut stream) = call(target, 0, CALLS).await else { return };
        read_all(&mut stream).await;
    })
}

fn read_by_byte(target: Target) -> Attack {
    Box::pin(async move {
        let Some(mut stream) = call(target, 1, READ_BY_BYTE).await else { return };
        let (mut reading, mut writing) = stream.split();
        let next: Vec<u8> = (0..READ_BY_BYTE)
            .flat_map(|number| frame(WINDOW_UPDATE, 0, 2 * number + 1, &1_u32.to_be_bytes()))
            .collect();
        let write = async {
            let mut sent = Ok(());
            while sent.is_ok() {
                tokio::time::sleep(BYTE).await;
                sent = writing.write_all(&next).await;
            }
        };
        tokio::select! {
            () = write => {}
            () = read_all(&mut reading) => {}
        }
    })
}

fn last_byte_unread(target: Target) -> Attack {
    Box::pin(async move {
        let Some((_, length)) = REQUEST.get() else { return };
        let Some(mut stream) = call(target, length - 1, CALLS).await else { return };
        read_all(&mut stream).await;
    })
}

/// These need no token.
fn watches(target: Target) -> Attack {
    Box::pin(async move {
        let Some(raw) = without_token(target).await else { return };
        let mut answers = Vec::new();
        for _ in 0..CALLS {
            match raw.unread("grpc.health.v1.Health/Watch", &()).await {
                Ok(answer) => answers.push(answer),
                Err(_) => return,
            }
        }
        std::future::pending().await
    })
}
