//! A proxy in front of Postgres that drops the connection after the COMMIT of a change, before its answer. A
//! read is not affected, because its COMMIT is a separate statement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::postgres::Database;

/// Forwards everything until it is set to break.
pub(crate) struct FaultyProxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Whether the answer to the next COMMIT is lost.
    breaks: AtomicBool,
    /// Whether all later connections are refused.
    refuses_later: AtomicBool,
    closed: AtomicBool,
}

impl FaultyProxy {
    pub(crate) async fn to(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let (shared, server) = (state.clone(), database.cluster().address().to_owned());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if !shared.closed.load(Ordering::Relaxed) {
                    let server = TcpStream::connect(&server).await.unwrap();
                    tokio::spawn(pass_on(client, server, shared.clone()));
                }
            }
        });
        Self { address, state }
    }

    /// The connection string through the proxy.
    pub(crate) fn url(&self, database: &Database) -> String {
        database.url().replace(database.cluster().address(), &self.address.to_string())
    }

    /// Loses the answer to the next COMMIT. If `refuses_later` is true, refuses all connections from then on.
    pub(crate) fn breaks_at_commit(&self, refuses_later: bool) {
        self.state.refuses_later.store(refuses_later, Ordering::Relaxed);
        self.state.breaks.store(true, Ordering::Relaxed);
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, state: Arc<State>) {
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(1..) => {
                    let asked = &asked[..read.unwrap()];
                    server.write_all(asked).await.unwrap();
                    let commits = asked.windows(9).any(|text| text == b"; COMMIT\0");
                    if commits && state.breaks.swap(false, Ordering::Relaxed) {
                        assert!(server.read(&mut answered).await.unwrap() > 0, "it was not carried out");
                        state.closed.store(state.refuses_later.load(Ordering::Relaxed), Ordering::Relaxed);
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(length @ 1..) if client.write_all(&answered[..length]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}
