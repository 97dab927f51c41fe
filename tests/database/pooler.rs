//! PgBouncer in transaction mode between the program and Postgres.

use tonic::Code;

use crate::support::changes::Changes;
use crate::support::cluster::connect;
use crate::support::observe::see;
use crate::support::pooler::Pooler;
use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;
use crate::support::wire::{Wire, assert_refused};

/// Startup options rejected, and startup options silently dropped.
const IGNORED: [&str; 2] = ["extra_float_digits", "extra_float_digits, options"];

#[tokio::test]
async fn a_sync_through_a_pooler_equals_a_direct_one_and_leaves_nothing_behind() {
    let database = Database::seeded(Sizes { users: 9, groups: 3, pages: 4, resources: 3 }).await;
    let role = database.documented_role(&[]).await;
    let direct = Server::start_at(&database.url_as(&role), &[]);
    let (direct, _) = see(direct.channel().await).await.unwrap();
    for ignored in IGNORED {
        let Some(pooler) = Pooler::start(&database, &role, ignored) else { return };
        let server = Server::start_at(&pooler.url(&database, &role), &[]);
        let (pooled, _) = see(server.channel().await).await.unwrap();
        assert_eq!(pooled, direct, "ignored: {ignored}");

        // The pooler has one connection to the server, so this client uses the same session.
        let other = connect(&pooler.url(&database, &role)).await.unwrap();
        for (setting, untouched) in [
            ("statement_timeout", "0"),
            ("transaction_read_only", "off"),
            ("default_transaction_read_only", "off"),
        ] {
            let messages = other.simple_query(&format!("SHOW {setting}")).await.unwrap();
            let seen = messages.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            assert_eq!(seen, Some(untouched), "{setting}, ignored: {ignored}");
        }
    }
}

#[tokio::test]
async fn limits_apply_behind_a_pooler() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    database
        .reveal("current_setting('transaction_read_only') || ' ' || current_setting('statement_timeout')")
        .await;
    for ignored in IGNORED {
        let Some(pooler) = Pooler::start(&database, &role, ignored) else { return };
        let limit = ["--statement-timeout-seconds", "5"];
        let server = Server::start_at(&pooler.url(&database, &role), &limit);
        let wire = Wire::to(&server).await;
        assert_eq!(wire.revealed().await.unwrap(), "on 5s", "ignored: {ignored}");
        let mut client = database.client().await;
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute("LOCK TABLE real_organizations").await.unwrap();
        assert_refused(wire.organizations().await, Code::DeadlineExceeded, &["statement timeout"]);
        transaction.rollback().await.unwrap();
        assert_eq!(wire.revealed().await.unwrap(), "on 5s", "ignored: {ignored}");
    }
}

/// This mode assigns each statement to another session, so neither a read-only transaction nor a change is
/// possible.
#[tokio::test]
async fn statement_pooling_is_refused_with_the_reason() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    for ignored in IGNORED {
        let Some(pooler) = Pooler::start_in_mode("statement", &database, &role, ignored) else { return };
        let words = ["statement pooling", "pool_mode"];
        for flags in [&[][..], &["--provisioning"]] {
            let server = Server::start_at(&pooler.url(&database, &role), flags);
            let wire = Wire::to(&server).await;
            assert_refused(wire.validate().await, Code::FailedPrecondition, &words);
            assert_refused(wire.organizations().await, Code::FailedPrecondition, &words);
            if !flags.is_empty() {
                let changes = Changes::of(&server).await;
                let refused = changes.grant("group:g1:member", "user/u10").await;
                assert_refused(refused.map(drop), Code::FailedPrecondition, &words);
            }
        }
    }
}
