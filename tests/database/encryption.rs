//! `sslmode` and the certificates of a connection string, with a Postgres that has TLS.

use std::sync::Arc;

use tonic::{Code, Status};

use crate::support::cluster::Cluster;
use crate::support::postgres::{Database, Role, Sizes};
use crate::support::server::Server;
use crate::support::tls::{Certificates, allow_first};
use crate::support::wire::{Wire, assert_refused, eventually};

struct Encrypted {
    cluster: Arc<Cluster>,
    database: Database,
    role: Role,
    certificates: Certificates,
}

impl Encrypted {
    /// A server whose organizations say whether the session that reads them is encrypted; nothing, and a
    /// word about it, where the server's files are out of reach.
    async fn start() -> Option<Self> {
        let cluster = Cluster::private();
        let database = Database::seeded_on(cluster.clone(), Sizes::default()).await;
        let role = database.documented_role(&[]).await;
        database.reveal("SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
        let Some(certificates) = Certificates::install(&cluster, &database).await else {
            eprintln!("skipped: this Postgres runs in a container, whose files are out of reach");
            return None;
        };
        Some(Self { cluster, database, role, certificates })
    }

    fn string(&self, host: &str, more: &str) -> String {
        let port = self.cluster.address().rsplit(':').next().unwrap();
        let Role { name, password } = &self.role;
        format!(
            "host={host} port={port} dbname={} user={name} password={password} {more}",
            self.database.name()
        )
    }
}

async fn asked(string: &str) -> Result<String, Status> {
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
            "has issued the server's certificate; name the file",
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-full {good}"),
            "the server's certificate is for \"localhost\", not for \"127.0.0.1\"; use a name",
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

    // A refusal of one way says nothing of the other, whichever comes first.
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
        (database.statements_under_way().await == 0).then_some(())
    })
    .await;
}
