//! `sslmode` and the certificates of a connection string, with a Postgres that supports TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Status};

use super::certificates::Workshop;
use crate::support::cluster::Cluster;
use crate::support::postgres::{Database, Role, Sizes};
use crate::support::server::Server;
use crate::support::skipped::skipped;
use crate::support::tls::{Certificates, allow_first};
use crate::support::wire::{Wire, assert_refused, eventually};

pub(super) struct Encrypted {
    pub(super) cluster: Arc<Cluster>,
    pub(super) database: Database,
    role: Role,
    pub(super) certificates: Certificates,
}

impl Encrypted {
    /// A server whose organizations show whether the session that reads them is encrypted. `None`, with a
    /// message, if the server's files are inaccessible.
    pub(super) async fn start() -> Option<Self> {
        let cluster = Cluster::private();
        let database = Database::seeded_on(cluster.clone(), Sizes::default()).await;
        let role = database.documented_role(&[]).await;
        database.reveal("SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
        let Some(certificates) = Certificates::install(&cluster, &database).await else {
            skipped("the files of the Postgres server are out of reach");
            return None;
        };
        Some(Self { cluster, database, role, certificates })
    }

    pub(super) fn string(&self, host: &str, more: &str) -> String {
        let port = self.cluster.address().rsplit(':').next().unwrap();
        let Role { name, password } = &self.role;
        format!(
            "host={host} port={port} dbname={} user={name} password={password} {more}",
            self.database.name()
        )
    }
}

pub(super) async fn asked(string: &str) -> Result<String, Status> {
    let server = Server::start_at(string, &[]);
    Wire::to(&server).await.revealed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sslmode_behaves_as_documented() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let good = format!("sslrootcert={}", encrypted.certificates.authority().display());
    let bad = format!("sslrootcert={}", encrypted.certificates.other_authority().display());
    for (host, more, seen) in [
        ("127.0.0.1", String::new(), "true"),
        ("127.0.0.1", "sslmode=prefer".to_owned(), "true"),
        ("127.0.0.1", "sslmode=allow".to_owned(), "false"),
        ("127.0.0.1", "sslmode=disable".to_owned(), "false"),
        ("127.0.0.1", "sslmode=require".to_owned(), "true"),
        ("127.0.0.1", format!("sslmode=require {good}"), "true"),
        ("127.0.0.1", format!("sslmode=verify-ca {good}"), "true"),
        ("localhost", format!("sslmode=verify-full {good}"), "true"),
        ("localhost", format!("hostaddr=127.0.0.1 sslmode=verify-full {good}"), "true"),
    ] {
        let answer = asked(&encrypted.string(host, &more)).await;
        assert_eq!(
            answer.unwrap_or_else(|status| panic!("{host} {more}: {status:?}")),
            seen,
            "{host} {more}"
        );
    }
    for (host, more, word) in [
        ("127.0.0.1", format!("sslmode=require {bad}"), "certificate"),
        ("127.0.0.1", format!("sslmode=verify-ca {bad}"), "certificate"),
        (
            "localhost",
            format!("sslmode=verify-full {bad}"),
            "issued the server's certificate; set sslrootcert",
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-full {good}"),
            "the server's certificate is for \"localhost\", not for \"127.0.0.1\"; set host to a name",
        ),
    ] {
        let string = encrypted.string(host, &more);
        let refused = assert_refused(asked(&string).await, Code::Unavailable, &["cannot connect", word]);
        assert!(!refused.message().contains(&encrypted.role.password), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_require_or_lack_tls_are_handled() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let Encrypted { cluster, database, role, .. } = &encrypted;
    allow_first(cluster, database, &format!("hostnossl all {} all reject", role.name)).await;
    let plain = encrypted.string("127.0.0.1", "sslmode=disable");
    eventually("the new rules", async || asked(&plain).await.is_err().then_some(())).await;
    assert_refused(asked(&plain).await, Code::Unavailable, &["28000"]);
    assert_eq!(asked(&encrypted.string("127.0.0.1", "sslmode=prefer")).await.unwrap(), "true");

    // A refusal of one attempt does not affect the other, in either order.
    assert_eq!(asked(&encrypted.string("127.0.0.1", "sslmode=allow")).await.unwrap(), "true");
    allow_first(cluster, database, &format!("hostssl all {} all reject", role.name)).await;
    allow_first(cluster, database, &format!("hostnossl all {} all scram-sha-256", role.name)).await;
    eventually("the newer rules", async || asked(&plain).await.ok()).await;
    assert_eq!(asked(&encrypted.string("127.0.0.1", "sslmode=prefer")).await.unwrap(), "false");

    database.execute("ALTER SYSTEM RESET ssl").await;
    cluster.restart();
    let required = encrypted.string("127.0.0.1", "sslmode=require");
    assert_refused(asked(&required).await, Code::Unavailable, &["TLS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_can_replace_the_password() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let Encrypted { cluster, database, role, certificates } = &encrypted;
    let (certificate, key) = certificates.client(&role.name);
    let (of_another, key_of_another) = certificates.client("somebody_else");
    allow_first(cluster, database, &format!("hostssl all {} all cert", role.name)).await;
    let port = cluster.address().rsplit(':').next().unwrap();
    let without =
        format!("host=127.0.0.1 port={port} dbname={} user={} sslmode=require", database.name(), role.name);
    let with = format!("{without} sslcert={} sslkey={}", certificate.display(), key.display());
    let seen = eventually("the new rules", async || asked(&with).await.ok()).await;
    assert_eq!(seen, "true");
    assert_refused(asked(&without).await, Code::Unavailable, &["certificate"]);
    let wrong = format!("{without} sslcert={} sslkey={}", of_another.display(), key_of_another.display());
    assert_refused(asked(&wrong).await, Code::Unavailable, &["cannot connect"]);

    // The files are read for each new connection.
    let server = Server::start_at(&with, &[]);
    let wire = Wire::to(&server).await;
    assert_eq!(wire.revealed().await.unwrap(), "true");
    let own = [&certificate, &key].map(|file| fs::read(file).unwrap());
    fs::copy(&of_another, &certificate).unwrap();
    fs::copy(&key_of_another, &key).unwrap();
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'", role.name);
    eventually("a refused certificate", async || {
        database.execute(&end).await;
        wire.revealed().await.err()
    })
    .await;
    fs::write(&certificate, &own[0]).unwrap();
    fs::write(&key, &own[1]).unwrap();
    eventually("the former certificate", async || wire.revealed().await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_cancelled_over_tls() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let database = &encrypted.database;
    let server = Server::start_at(&encrypted.string("127.0.0.1", "sslmode=require"), &[]);
    let wire = Wire::to(&server).await;
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE users").await.unwrap();
    let call = tokio::spawn(async move {
        wire.grants(crate::support::wire::resource("group", "g1"), 0, "").await.map(drop)
    });
    database.wait_until_blocked(1).await;
    call.abort();
    eventually("the end of the statement", async || {
        (database.statements_in_progress().await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_version_1_are_accepted() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let Encrypted { cluster, database, role, certificates } = &encrypted;
    let (certificate, key) = certificates.client_of_version_1();
    allow_first(
        cluster,
        database,
        &format!("hostssl all {} all scram-sha-256 clientcert=verify-ca", role.name),
    )
    .await;
    database.execute("SELECT pg_reload_conf()").await;
    let with = format!("sslmode=require sslcert={} sslkey={}", certificate.display(), key.display());
    let with = encrypted.string("127.0.0.1", &with);
    let without = encrypted.string("127.0.0.1", "sslmode=require");
    eventually("the new rules", async || asked(&without).await.is_err().then_some(())).await;
    let seen = eventually("the new certificate authority", async || asked(&with).await.ok()).await;
    assert_eq!(seen, "true");

    certificates.show_version_1(cluster, database).await;
    assert_eq!(asked(&with).await.unwrap(), "true", "a server that proves no name");
    // Its issuer is of version 1, too.
    let checked = |root: &Path| {
        with.replace("host=127.0.0.1", "host=localhost")
            .replace("sslmode=require", &format!("sslmode=verify-full sslrootcert={}", root.display()))
    };
    assert_eq!(asked(&checked(&certificates.authority())).await.unwrap(), "true");
    let refused = asked(&checked(&certificates.other_authority())).await;
    assert_refused(refused, Code::Unavailable, &["no trusted certificate authority issued"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_plaintext_although_the_server_offers_tls() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let Encrypted { cluster, database, role, .. } = &encrypted;
    let prefer = encrypted.string("127.0.0.1", "sslmode=prefer");
    let words = "not encrypted although the server offers TLS";
    let warned = |server: &Server| {
        server.logs().into_iter().any(|line| line["msg"].as_str().is_some_and(|text| text.contains(words)))
    };
    let server = Server::start_at(&prefer, &[]);
    assert_eq!(Wire::to(&server).await.revealed().await.unwrap(), "true");
    assert!(!warned(&server), "this one is encrypted");

    allow_first(cluster, database, &format!("hostssl all {} all reject", role.name)).await;
    eventually("the new rules", async || {
        let server = Server::start_at(&prefer, &[]);
        let plain = Wire::to(&server).await.revealed().await.unwrap() == "false";
        if plain {
            server.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.contains(words)));
        }
        plain.then_some(())
    })
    .await;

    database.execute("ALTER SYSTEM RESET ssl").await;
    cluster.restart();
    let server = Server::start_at(&prefer, &[]);
    assert_eq!(Wire::to(&server).await.revealed().await.unwrap(), "false");
    assert!(!warned(&server), "this server has no TLS to offer");
}

/// The files in the connection string are read for each new connection, as in libpq.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_needs_no_restart() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pgpass");
    let write = |password: &str| {
        fs::write(&file, format!("*:*:*:{}:{password}\n", role.name)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let (host, port) = database.cluster().address().rsplit_once(':').unwrap();
    let string =
        format!("host={host} port={port} dbname={} user={} sslmode=disable", database.name(), role.name);
    let named = format!("{string} passfile={}", file.display());
    for (password, string, environment) in
        [("another", named, None), ("a third", string, Some(("PGPASSFILE", file.to_str().unwrap())))]
    {
        write(&role.password);
        database.execute(&format!("ALTER ROLE {} PASSWORD '{}'", role.name, role.password)).await;
        let server = Server::start_with(environment.as_slice(), &string, &[]);
        let wire = Wire::to(&server).await;
        wire.organizations().await.unwrap();
        database.execute(&format!("ALTER ROLE {} PASSWORD '{password}'", role.name)).await;
        // A session may be opened between the change of the password and the end of the others, so sessions are
        // ended until a new one is refused.
        let end =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'", role.name);
        eventually("a refused password", async || {
            database.execute(&end).await;
            wire.organizations().await.err().filter(|status| status.message().contains("28P01"))
        })
        .await;
        write(password);
        wire.organizations().await.unwrap();
    }
}

fn warnings_of_plaintext(server: &Server) -> usize {
    let words = "not encrypted although the server offers TLS";
    let is_one = |line: &serde_json::Value| line["msg"].as_str().is_some_and(|text| text.contains(words));
    server.logs().into_iter().filter(is_one).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_of_each_connection_that_is_plaintext_after_a_failed_handshake() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let Encrypted { database, role, certificates, .. } = &encrypted;
    // The program supports no key of this kind.
    let workshop = Workshop::open();
    workshop.self_signed("server", "-algorithm ED448", "localhost", "-extensions server");
    certificates.show_any(database, &workshop.text("server.crt"), &workshop.text("server.key")).await;
    let server = Server::start_at(&encrypted.string("127.0.0.1", "sslmode=prefer pool_max_conns=1"), &[]);
    let wire = Wire::to(&server).await;
    for connections in 1..=2 {
        assert_eq!(wire.revealed().await.unwrap(), "false");
        server.wait_for_log(|line| line["msg"] == "the database can be read");
        assert_eq!(warnings_of_plaintext(&server), connections);
        let end =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'", role.name);
        eventually("the end of the session", async || {
            let client = database.client().await;
            client.query(&end, &[]).await.unwrap().is_empty().then_some(())
        })
        .await;
    }
}

/// A server that never answered the request for TLS has not offered it.
#[tokio::test(flavor = "multi_thread")]
async fn does_not_warn_of_plaintext_after_a_failed_connection() {
    let database = Database::small().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let real = database.cluster().address().to_owned();
    let (closing, mut closed) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        drop(first);
        closing.send(()).unwrap();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(&real).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    let url = database.url().replace(database.cluster().address(), &address);
    let server = Server::start_at(&format!("{url}?sslmode=prefer"), &[]);
    assert_eq!(Wire::to(&server).await.organizations().await.unwrap().len(), 2);
    closed.recv().await.unwrap();
    assert_eq!(warnings_of_plaintext(&server), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_authorities_are_read_for_each_connection() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let Encrypted { database, role, certificates, .. } = &encrypted;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.crt");
    fs::copy(certificates.authority(), &root).unwrap();
    let string =
        encrypted.string("localhost", &format!("sslmode=verify-full sslrootcert={}", root.display()));
    let server = Server::start_at(&string, &[]);
    let wire = Wire::to(&server).await;
    assert_eq!(wire.revealed().await.unwrap(), "true");
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'", role.name);
    fs::copy(certificates.other_authority(), &root).unwrap();
    let refused = eventually("a refused server", async || {
        database.execute(&end).await;
        wire.revealed().await.err()
    })
    .await;
    assert_refused::<()>(Err(refused), Code::Unavailable, &["sslrootcert", "certificate"]);
    fs::remove_file(&root).unwrap();
    let words = ["sslrootcert", root.to_str().unwrap(), "cannot be read"];
    assert_refused(wire.revealed().await, Code::Unavailable, &words);
    fs::copy(certificates.authority(), &root).unwrap();
    assert_eq!(wire.revealed().await.unwrap(), "true");
}
