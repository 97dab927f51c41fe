//! Grants and revokes, and their effects on the tables.

use std::collections::BTreeMap;

use baton_retool::proto::connector::grant_manager_service_client::GrantManagerServiceClient;
use baton_retool::proto::connector::{
    Entitlement, Grant, GrantAlreadyExists, GrantAlreadyRevoked, GrantManagerServiceGrantRequest,
    GrantManagerServiceRevokeRequest, GrantReplaced, Resource,
};
use prost_types::Any;
use tonic::Status;
use tonic::transport::Channel;

use super::client::{Client, annotations, named};
use super::postgres::Database;
use super::server::Server;

/// A client that makes changes, and one that reads.
#[derive(Clone)]
pub(crate) struct Changes {
    pub(crate) client: Client,
    manager: GrantManagerServiceClient<Channel>,
}

/// The answer to a Grant or a Revoke.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) grants: Vec<Grant>,
    pub(crate) annotations: Vec<Any>,
}

/// The effect of a change, according to its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Did {
    /// A change was made.
    Changed,
    /// A change was made, and it replaced this grant.
    Replaced(String),
    /// The state was already as requested.
    Nothing,
}

impl Changes {
    /// Starts a server with `--provisioning` and these flags, as the superuser.
    pub(crate) async fn serving(database: &Database, flags: &[&str]) -> (Self, Server) {
        Self::serving_at(&database.url(), flags).await
    }

    /// Starts a server with `--provisioning` and these flags.
    pub(crate) async fn serving_at(connection_string: &str, flags: &[&str]) -> (Self, Server) {
        let flags: Vec<&str> = ["--provisioning"].into_iter().chain(flags.iter().copied()).collect();
        let server = Server::start_at(connection_string, &flags);
        (Self::of(&server).await, server)
    }

    /// Opens a connection to a server that the test owns.
    pub(crate) async fn of(server: &Server) -> Self {
        Self::over(server.channel().await)
    }

    /// Uses a connection that the test has opened.
    pub(crate) fn over(channel: Channel) -> Self {
        Self { client: Client::over(channel.clone()), manager: GrantManagerServiceClient::new(channel) }
    }

    /// Grants an entitlement, `group:g5:member`, to a principal, `user/u7`.
    pub(crate) async fn grant(&self, entitlement: &str, principal: &str) -> Result<Answered, Status> {
        let request = GrantManagerServiceGrantRequest {
            entitlement: Some(entitlement_of(entitlement)),
            principal: Some(principal_of(principal)),
            annotations: Vec::new(),
        };
        self.send_grant(request).await
    }

    /// Revokes the grant of [`grant`](Self::grant).
    pub(crate) async fn revoke(&self, entitlement: &str, principal: &str) -> Result<Answered, Status> {
        let grant = Grant {
            id: format!("{entitlement}:{}", principal.replace('/', ":")),
            entitlement: Some(entitlement_of(entitlement)),
            principal: Some(principal_of(principal)),
            ..Default::default()
        };
        self.send_revoke(grant).await
    }

    pub(crate) async fn send_grant(
        &self,
        request: GrantManagerServiceGrantRequest,
    ) -> Result<Answered, Status> {
        let answer = self.manager.clone().grant(request).await?.into_inner();
        Ok(Answered { grants: answer.grants, annotations: answer.annotations })
    }

    pub(crate) async fn send_revoke(&self, grant: Grant) -> Result<Answered, Status> {
        let request = GrantManagerServiceRevokeRequest { grant: Some(grant), annotations: Vec::new() };
        let answer = self.manager.clone().revoke(request).await?.into_inner();
        Ok(Answered { grants: Vec::new(), annotations: answer.annotations })
    }

    /// The grants on the resource of an entitlement, as listed now.
    pub(crate) async fn listed(&self, entitlement: &str) -> Vec<Grant> {
        self.client.grants(&resource_of(entitlement)).await
    }

    /// Whether the grant is listed now.
    pub(crate) async fn lists(&self, entitlement: &str, principal: &str) -> bool {
        let id = format!("{entitlement}:{}", principal.replace('/', ":"));
        self.listed(entitlement).await.iter().any(|grant| grant.id == id)
    }
}

impl Answered {
    /// Whether one of the free-form annotations has this key.
    pub(crate) fn says(&self, key: &str) -> bool {
        let said = self.annotations.iter().filter(|one| one.type_url.ends_with("/google.protobuf.Struct"));
        said.map(|one| <prost_types::Struct as prost::Message>::decode(one.value.as_slice()).unwrap())
            .any(|said| said.fields.contains_key(key))
    }

    /// The effect of the change, from its annotations.
    pub(crate) fn did(&self) -> Did {
        let exists = annotations::<GrantAlreadyExists>(&self.annotations).len();
        let revoked = annotations::<GrantAlreadyRevoked>(&self.annotations).len();
        let mut replaced = annotations::<GrantReplaced>(&self.annotations);
        match (exists + revoked, replaced.pop()) {
            (0, None) => Did::Changed,
            (0, Some(replaced)) => Did::Replaced(replaced.replaced_grant_id),
            (1, None) => Did::Nothing,
            _ => panic!("has more than one outcome: {self:?}"),
        }
    }
}

/// The entitlement with the resource in its id: `group:g5:member`, `page:p3:user:read`.
pub(crate) fn entitlement_of(id: &str) -> Entitlement {
    Entitlement { id: id.to_owned(), resource: Some(resource_of(id)), ..Default::default() }
}

fn resource_of(entitlement: &str) -> Resource {
    let mut parts = entitlement.split(':');
    named(parts.next().unwrap(), parts.next().unwrap())
}

/// Parses a principal such as `user/u7`.
pub(crate) fn principal_of(path: &str) -> Resource {
    let (type_id, id) = path.split_once('/').unwrap();
    named(type_id, id)
}

/// Every row of every table with all columns, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tables(BTreeMap<String, Vec<String>>);

impl Tables {
    /// Reads the current content of the database.
    pub(crate) async fn of(database: &Database) -> Self {
        let client = database.reader().await;
        let names = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
        let names = client.query(names, &[]).await.unwrap();
        let mut tables: BTreeMap<String, Vec<String>> =
            names.iter().map(|name| (name.get(0), Vec::new())).collect();
        let rows: Vec<String> =
            tables.keys().map(|name| format!(r#"SELECT '{name}', t::text FROM "{name}" t"#)).collect();
        let rows = format!("{} ORDER BY 1, 2", rows.join(" UNION ALL "));
        for row in client.query(&rows, &[]).await.unwrap() {
            tables.get_mut(row.get::<_, &str>(0)).unwrap().push(row.get(1));
        }
        Self(tables)
    }

    /// Panics with the rows that differ.
    pub(crate) fn assert_same(&self, now: &Self) {
        for (name, before) in &self.0 {
            let after = &now.0[name];
            let gone: Vec<_> = before.iter().filter(|row| !after.contains(row)).collect();
            let new: Vec<_> = after.iter().filter(|row| !before.contains(row)).collect();
            assert!(gone.is_empty() && new.is_empty(), "{name} has changed: gone {gone:?}, new {new:?}");
        }
        assert_eq!(self, now);
    }
}

/// Makes a call that must be refused, and asserts that it changed no table.
pub(crate) async fn refused<T: std::fmt::Debug>(
    database: &Database,
    call: impl Future<Output = Result<T, Status>>,
) -> Status {
    let before = Tables::of(database).await;
    let status = call.await.unwrap_err();
    before.assert_same(&Tables::of(database).await);
    status
}
