//! Servers that are not Postgres, logins refused for reasons other than a wrong password, and self-signed
//! certificates.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use super::database::{FEW, Visit, healthy, visit};
use crate::support::cluster::{Cluster, connect};
use crate::support::postgres::{Database, Role};
use crate::support::skipped::skipped;
use crate::support::tls::{Certificates, allow_first};
use crate::support::wire::eventually;

/// A port where every connection is served like this until the process ends.
fn served_by(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client may close the connection early.
            let _ = serve(stream);
        }
    });
    port
}

/// The beginning of a MySQL server's first packet.
const MYSQL: &[u8] = b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00";

#[test]
fn a_server_other_than_postgres_is_recognized() {
    let port = served_by(|mut stream| {
        stream.write_all(MYSQL)?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let connection = |mode| format!("host=127.0.0.1 port={port} user=baton dbname=retool sslmode={mode}");
    for mode in ["require", "prefer"] {
        let seen = visit(&connection(mode), &[]);
        assert_eq!((seen.code, seen.status_of("tls")), (2, vec!["failed"]), "{}", seen.text);
        assert!(seen.text.contains("Another program listens"), "{}", seen.text);
    }
    insta::assert_snapshot!("doctor_mysql", visit(&connection("require"), &[]).shown(None, None));
    insta::assert_snapshot!("doctor_mysql_without_tls", visit(&connection("disable"), &[]).shown(None, None));
}

#[test]
fn a_starting_server_is_reported() {
    let refusal = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
    let length = u32::try_from(refusal.len() + 4).unwrap().to_be_bytes();
    let answer = [&b"E"[..], &length, refusal].concat();
    let port = served_by(move |mut stream| {
        stream.read_exact(&mut [0; 9])?;
        stream.write_all(&answer)
    });
    let connection = format!("host=127.0.0.1 port={port} user=baton dbname=retool sslmode=disable");
    insta::assert_snapshot!("doctor_starting", visit(&connection, &[]).shown(None, None));
}

#[tokio::test]
async fn expired_passwords_and_closed_databases_are_reported() {
    let (database, role) = healthy().await;
    database.execute(&format!("ALTER ROLE {} VALID UNTIL '2020-01-01'", role.name)).await;
    let seen = visit(&database.url_as(&role), &[]);
    let fix = format!("ALTER ROLE {} VALID UNTIL 'infinity';", role.name);
    assert!(seen.text.contains("has expired") && seen.text.contains(&fix), "{}", seen.text);
    database.execute(&fix).await;
    // This cannot be run inside the database itself.
    let elsewhere = connect(&database.url().replace(database.name(), "postgres")).await.unwrap();
    let close = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name());
    elsewhere.batch_execute(&close).await.unwrap();
    let seen = visit(&database.url_as(&role), &[]);
    insta::assert_snapshot!("doctor_closed_database", seen.shown(Some(&database), Some(&role)));
}

#[tokio::test]
async fn names_in_commands_are_quoted_for_the_shell_and_for_postgres() {
    let (database, _) = healthy().await;
    let role = Role { name: "a$(id) it's".to_owned(), password: "hunter2".to_owned() };
    let (host, port) = database.cluster().address().rsplit_once(':').unwrap();
    let connection =
        format!(r"host={host} port={port} user='a$(id) it\'s' password=hunter2 dbname={}", database.name());
    let seen = visit(&connection, &[]);
    insta::assert_snapshot!("doctor_odd_role", seen.shown(Some(&database), Some(&role)));
}

#[tokio::test]
async fn authentication_methods_of_pg_hba_are_explained() {
    let cluster = Cluster::private();
    let Some(socket) = cluster.socket() else {
        skipped("the files of the Postgres server are out of reach");
        return;
    };
    let database = Database::seeded_on(cluster.clone(), FEW).await;
    let role = database.documented_role(&[]).await;
    let rules = format!("host all nobody_here 127.0.0.1/32 trust\nlocal all {} peer", role.name);
    allow_first(&cluster, &database, &rules).await;
    let address = cluster.address();
    let unknown = format!("postgres://nobody_here@{address}/{}", database.name());
    let seen = eventually("the new rules", async || {
        let seen = visit(&unknown, &[]);
        (!seen.text.contains("password missing")).then_some(seen)
    })
    .await;
    insta::assert_snapshot!("doctor_trusted_and_unknown", seen.shown(Some(&database), None));

    let port = address.rsplit_once(':').unwrap().1;
    let seen = visit(
        &format!("host={} port={port} user={} dbname={}", socket.display(), role.name, database.name()),
        &[],
    );
    insta::assert_snapshot!(
        "doctor_peer",
        in_directory(&seen, socket, &database, &role).replace(port, "[port]")
    );
}

fn in_directory(seen: &Visit, directory: &Path, database: &Database, role: &Role) -> String {
    let directory = directory.display().to_string();
    let shown = seen.shown(Some(database), Some(role)).replace(&directory, "[directory]");
    shown.replace(&directory.replace('/', "%2F"), "[directory]")
}

#[tokio::test]
async fn self_signed_server_certificates_are_reported() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), FEW).await;
    let role = database.documented_role(&[]).await;
    let Some(certificates) = Certificates::install(&cluster, &database).await else {
        skipped("the files of the Postgres server are out of reach");
        return;
    };
    certificates.show_self_signed(&database).await;
    let port = cluster.address().rsplit_once(':').unwrap().1;
    let visit = |mode: &str, authority: &Path| {
        let (name, Role { name: user, password }) = (database.name(), &role);
        let authority = authority.display();
        visit(
            &format!(
                "host=localhost hostaddr=127.0.0.1 port={port} dbname={name} user={user} password={password} sslmode={mode} sslrootcert={authority}"
            ),
            &[],
        )
    };
    let shown = |seen: &Visit| in_directory(seen, cluster.socket().unwrap(), &database, &role);
    let unlisted = visit("verify-full", &certificates.other_authority());
    insta::assert_snapshot!("doctor_tls_self_signed", shown(&unlisted));
    let listed = visit("verify-full", &certificates.of_server());
    insta::assert_snapshot!("doctor_tls_no_name", shown(&listed));
    let nameless = visit("verify-ca", &certificates.of_server());
    assert_eq!((nameless.code, nameless.status_of("tls")), (0, vec!["ok"]), "{}", nameless.text);
}
