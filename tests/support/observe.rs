//! The activity of the server under test, as seen from the database and by an agent.

use std::collections::BTreeSet;

use baton_retool::agent::sync::{Error, Visitor, Walk, walk};
use baton_retool::proto::connector::{Entitlement, Grant, Resource};
use prost::Message;
use tonic::Status;
use tonic::transport::Channel;

use super::postgres::Database;
use super::wire::{Wire, eventually};

impl Database {
    /// How many statements of the server under test are in progress.
    pub(crate) async fn statements_in_progress(&self) -> i64 {
        const ACTIVE: &str = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'baton-retool' AND state = 'active'";
        self.reader().await.query_one(ACTIVE, &[]).await.unwrap().get(0)
    }

    /// Returns when the program has counted the memberships across organizations. It does so once, in the
    /// background, after the first call of Validate.
    pub(crate) async fn wait_for_the_count_of_crossing_memberships(&self) {
        eventually("the count of memberships across organizations", async || {
            let all = self.statements().await;
            all.iter()
                .any(|one| one.query.contains(r#"u."organizationId" <> g."organizationId""#))
                .then_some(())
        })
        .await;
    }

    /// The process ids of the sessions that programs under test have open.
    pub(crate) async fn sessions(&self) -> BTreeSet<i32> {
        let sql = "SELECT pid FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'baton-retool'";
        self.reader().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Returns when this number of statements waits for a lock.
    pub(crate) async fn wait_until_blocked(&self, count: i64) {
        const BLOCKED: &str = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
              AND query NOT LIKE '%count(*) AS memberships%'";
        let client = self.reader().await;
        eventually("statements that wait for a lock", async || {
            let blocked: i64 = client.query_one(BLOCKED, &[]).await.unwrap().get(0);
            (blocked >= count).then_some(())
        })
        .await;
    }

    /// Makes the names of organizations return the value of this SQL expression, evaluated in the session
    /// that reads them.
    pub(crate) async fn reveal(&self, expression: &str) {
        self.execute(&format!(
            "DO $$ BEGIN
                 IF to_regclass('real_organizations') IS NULL THEN
                     ALTER TABLE organizations RENAME TO real_organizations;
                 END IF;
             END $$;
             CREATE OR REPLACE VIEW organizations AS
                 SELECT id, ({expression})::varchar(255) AS name FROM real_organizations;
             GRANT SELECT ON organizations TO PUBLIC;"
        ))
        .await;
    }
}

impl Wire {
    /// The value that [`Database::reveal`] makes the organizations return.
    pub(crate) async fn revealed(&self) -> Result<String, Status> {
        Ok(self.organizations().await?.remove(0).display_name)
    }
}

/// Everything that a walk has read, in full.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) resources: BTreeSet<Vec<u8>>,
    pub(crate) entitlements: BTreeSet<Vec<u8>>,
    pub(crate) grants: BTreeSet<Vec<u8>>,
}

impl Visitor for Seen {
    fn resource(&mut self, resource: &Resource) {
        self.resources.insert(resource.encode_to_vec());
    }

    fn entitlement(&mut self, entitlement: &Entitlement) {
        self.entitlements.insert(entitlement.encode_to_vec());
    }

    fn grant(&mut self, grant: &Grant) {
        self.grants.insert(grant.encode_to_vec());
    }
}

/// Walks everything as an agent does.
pub(crate) async fn see(channel: Channel) -> Result<(Seen, Walk), Error> {
    let (walked, seen) = walk(channel, Seen::default()).await?;
    Ok((seen, walked))
}
