//! Hosts with several addresses.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::postgres::connection_string::Environment;

/// A server that reads the first message of each client, and answers.
async fn answering(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = usize::try_from(stream.read_u32().await.unwrap()).unwrap();
            stream.read_exact(&mut vec![0; length - 4]).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

/// A server that refuses the password of each session.
async fn refusing() -> SocketAddr {
    let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap();
    answering([b"E", &length.to_be_bytes()[..], &fields[..]].concat()).await
}

/// A server that does not offer TLS.
async fn without_tls() -> SocketAddr {
    answering(b"N".to_vec()).await
}

fn opener(address: SocketAddr) -> Opener {
    opener_with(address, "disable")
}

fn opener_with(address: SocketAddr, mode: &str) -> Opener {
    let text = format!("host=127.0.0.1 port={} user=me dbname=retool sslmode={mode}", address.port());
    let settings = ConnectionSettings::parse(&text.into(), &Environment::default()).unwrap();
    Opener {
        tls: tls::connector(&settings.ssl).unwrap(),
        settings: Arc::new(settings),
        connect_timeout: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(2),
    }
}

#[tokio::test]
async fn an_address_that_does_not_answer_does_not_hide_the_next_one() {
    // Its connections are accepted by the system, and nothing is sent.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refusing = refusing().await;
    let opener = opener(refusing);
    let attempt = |address| self::opener(address).settings.attempts()[0].clone();
    let [silent, closed, refusing] = [silent.local_addr().unwrap(), closed, refusing].map(attempt);
    let failed = opener.try_each(&[silent.clone(), closed.clone()], &refusing).await.err().unwrap();
    assert!(failed.login_refused, "{}", failed.reason);
    // An answer is final, although other addresses follow.
    let failed = opener.try_each(&[closed, refusing], &silent).await.err().unwrap();
    assert!(failed.login_refused, "{}", failed.reason);
}
#[tokio::test]
async fn a_server_without_tls_has_answered() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let opener = opener_with(without_tls().await, "require");
    let attempts =
        [&opener, &opener_with(silent, "require")].map(|opener| opener.settings.attempts()[0].clone());
    let failed = opener.try_each(&attempts[..1], &attempts[1]).await.err().unwrap();
    assert_eq!(failed.reason, "error performing TLS handshake: server does not support TLS");
    // In the other order, the error has both reasons.
    let failed = opener.try_each(&attempts[1..], &attempts[0]).await.err().unwrap();
    assert!(failed.reason.contains("refused") && failed.reason.contains("TLS"), "{}", failed.reason);
}
