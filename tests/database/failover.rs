//! A primary that becomes a standby, and the other way round.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::releases::WORLD;
use crate::support::changes::{Changes, Did};
use crate::support::cluster::Cluster;
use crate::support::postgres::{Database, Sizes};
use crate::support::skipped::skipped;
use crate::support::wire::{Wire, assert_refused};

const FEW: Sizes = Sizes { users: 9, groups: 3, pages: 4, resources: 3 };

/// An address that leads to one server and later to another, like a proxy or a DNS record. Open connections
/// stay.
struct Switch {
    address: SocketAddr,
    target: Arc<Mutex<String>>,
}

impl Switch {
    async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target.to_owned()));
        let now = Arc::clone(&target);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let server = now.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, target }
    }
}

/// Makes the server a standby of a primary that it never finds; `None` if its files are inaccessible.
async fn make_standby(cluster: &Cluster, database: &Database) -> Option<()> {
    let directory = cluster.socket()?.to_owned();
    database.execute("CHECKPOINT").await;
    fs::write(directory.join("data/standby.signal"), "").unwrap();
    cluster.restart();
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_the_primary_although_the_pool_leads_to_the_former_one() {
    let (former, primary) = (Cluster::private(), Cluster::private());
    let old = Database::seeded_on(former.clone(), FEW).await;
    let new = Database::seeded_on(primary.clone(), FEW).await;
    for database in [&old, &new] {
        database.execute(WORLD).await;
    }
    new.execute(&format!("CREATE DATABASE {} TEMPLATE {}", old.name(), new.name())).await;
    if make_standby(&former, &old).await.is_none() {
        skipped("the files of the Postgres server are out of reach");
        return;
    }
    let switch = Switch::to(former.address()).await;
    let url = old.url().replace(former.address(), &switch.address.to_string());
    let (changes, server) = Changes::serving_at(&url, &[]).await;

    let wire = Wire::to(&server).await;
    assert_refused(wire.validate().await, Code::FailedPrecondition, &["accepts no changes", "primary"]);
    let status = changes.grant("group:g100:member", "user/u100").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    wire.organizations().await.unwrap();

    *switch.target.lock().unwrap() = primary.address().to_owned();
    assert_eq!(changes.grant("group:g100:member", "user/u100").await.unwrap().did(), Did::Changed);
    wire.validate().await.unwrap();
}

#[tokio::test]
async fn a_standby_serves_reads() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), FEW).await;
    if make_standby(&cluster, &database).await.is_none() {
        skipped("the files of the Postgres server are out of reach");
        return;
    }
    let server = crate::support::server::Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    wire.validate().await.unwrap();
    wire.organizations().await.unwrap();
}
