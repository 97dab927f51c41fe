//! Unix sockets: permissions, tokens, and existing files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use tonic::Code;

use super::{Files, TOKENS, assert_ends, refused, start};
use crate::support::raw::GREETING;
use crate::support::wire::{Wire, assert_refused};

fn socket_at(path: &Path) -> String {
    format!("--listen=unix:{}", path.display())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn calls_through(path: &Path) -> bool {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
    match endpoint.connect().await {
        Ok(channel) => Wire::over(channel).metadata().await.is_ok(),
        Err(_) => false,
    }
}

// The client notices the stop of the server while this thread waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_its_own_user_and_is_removed_at_the_end() {
    let files = Files::new();
    let path = files.path("baton.sock");
    let server = start(&[socket_at(&path)]);
    assert_eq!(server.listening(), format!("unix:{}", path.display()));
    assert_eq!(mode(&path), 0o600);
    assert!(calls_through(&path).await);
    assert!(server.stop().0.success());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_setgid_directory_lets_its_group_connect_to_the_socket() {
    let files = Files::new();
    fs::set_permissions(files.directory.path(), fs::Permissions::from_mode(0o2770)).unwrap();
    let path = files.path("baton.sock");
    let _server = start(&[socket_at(&path)]);
    assert_eq!(mode(&path), 0o660);
    assert!(calls_through(&path).await);
}

#[tokio::test]
async fn a_unix_socket_requires_tokens() {
    let files = Files::new();
    let path = files.path("baton.sock");
    let _server = start(&[socket_at(&path), files.tokens(&TOKENS)]);
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
    let wire = Wire::over(endpoint.connect().await.unwrap());
    assert_refused(wire.metadata().await, Code::Unauthenticated, &[]);
    assert!(wire.showing(TOKENS[0]).metadata().await.is_ok());
}

#[tokio::test]
async fn a_stale_socket_of_a_killed_server_is_replaced() {
    let files = Files::new();
    let path = files.path("baton.sock");
    drop(start(&[socket_at(&path)]));
    assert!(path.exists(), "a killed server cannot remove its socket");
    let _server = start(&[socket_at(&path)]);
    assert!(calls_through(&path).await);
}

#[tokio::test]
async fn a_socket_in_use_is_not_replaced() {
    let files = Files::new();
    let path = files.path("baton.sock");
    let first = start(&[socket_at(&path)]);
    assert_ends(&refused(&[socket_at(&path)]), 1, &["baton.sock", "another program already listens on it"]);
    assert!(calls_through(&path).await);
    drop(first);
}

#[test]
fn a_file_that_is_not_a_socket_is_never_removed() {
    let files = Files::new();
    let path = files.path("precious");
    fs::write(&path, "data").unwrap();
    assert_ends(&refused(&[socket_at(&path)]), 1, &["precious", "in use"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    let link = files.path("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_ends(&refused(&[socket_at(&link)]), 1, &["link", "in use"]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let directory = files.path("missing/baton.sock");
    assert_ends(&refused(&[socket_at(&directory)]), 1, &["missing/baton.sock"]);
}

#[tokio::test]
async fn a_socket_that_replaced_ours_is_not_removed() {
    let files = Files::new();
    let path = files.path("baton.sock");
    let server = start(&[socket_at(&path)]);
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert!(server.stop().0.success());
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
}

/// An HTTP/2 frame on a stream.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The types of the frames on a stream, until the stream ends.
fn kinds_of(socket: &mut UnixStream, stream: u8) -> Vec<u8> {
    const END_STREAM: u8 = 1;
    const RESET: u8 = 3;
    const GOAWAY: u8 = 7;
    let mut kinds = Vec::new();
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload).unwrap();
        let (kind, flags) = (head[3], head[4]);
        if head[8] == stream || kind == GOAWAY {
            kinds.push(kind);
            if flags & END_STREAM != 0 || kind == RESET || kind == GOAWAY {
                return kinds;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_sends_the_path_of_the_socket_as_authority_is_served() {
    let files = Files::new();
    let path = files.path("baton.sock");
    let _server = start(&[socket_at(&path)]);
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let mut socket = UnixStream::connect(&path).unwrap();
    socket.write_all(GREETING).unwrap();
    // gRPC's C core sends the name of the header as text, and refers to the indexed field the next time.
    let spelled = [b"\x40".to_vec(), text(":authority"), text("%2Frun%2Fbaton.sock/../a:b@c")].concat();
    for (stream, authority) in [(1, spelled), (3, b"\xbe".to_vec())] {
        let rest = [
            b"\x83\x86\x04".to_vec(),
            text("/c1.connector.v2.ConnectorService/GetMetadata"),
            b"\x0f\x10".to_vec(),
            text("application/grpc"),
            b"\x00".to_vec(),
            text("te"),
            text("trailers"),
        ];
        let headers = [authority, rest.concat()].concat();
        socket.write_all(&frame(1, 4, stream, &headers)).unwrap();
        socket.write_all(&frame(0, 1, stream, &[0; 5])).unwrap();
        let kinds = kinds_of(&mut socket, stream);
        // Headers, the message and the trailers.
        assert_eq!((kinds.first(), kinds.last()), (Some(&1), Some(&1)), "{kinds:?}");
        assert!(kinds.contains(&0), "{kinds:?}");
    }
}
