//! A database per test: a copy of a template that is filled once per process.

use std::sync::{Arc, Mutex};

use baton_retool::postgres::identifier::RoleName;
use baton_retool::retool::privileges::Scope;
use baton_retool::retool::setup::{Wanted, script};
use tokio_postgres::{Client, Row};

use super::cluster::{Cluster, block_on, connect, project_file};

/// How much of everything the seed makes. The default is its own: a small organization.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) users: u32,
    pub(crate) groups: u32,
    pub(crate) pages: u32,
    pub(crate) resources: u32,
}

/// A database of its own for one test, dropped with it together with the roles made through it.
pub(crate) struct Database {
    cluster: Arc<Cluster>,
    name: String,
    roles: Mutex<Vec<String>>,
}

/// A role that may log in. Roles belong to the whole server, hence the made-up name.
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// What the script of `setup-sql` can grant on top of reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Provisioning {
    Groups,
    Pages,
}

/// One kind of statement as Postgres counted it, constants replaced by parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Statement {
    pub(crate) query: String,
    pub(crate) calls: i64,
    /// All rows that its calls returned or changed.
    pub(crate) rows: i64,
}

/// What a new database is a copy of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Template {
    Schema,
    Seeded(Sizes),
}

impl Default for Sizes {
    fn default() -> Self {
        Self { users: 40, groups: 8, pages: 24, resources: 12 }
    }
}

// === impl Database ===

impl Database {
    /// Retool's tables with the small organization of the seed.
    pub(crate) async fn small() -> Self {
        Self::seeded(Sizes::default()).await
    }

    /// Retool's tables with an organization of these sizes; the same sizes give the same rows.
    pub(crate) async fn seeded(sizes: Sizes) -> Self {
        Self::seeded_on(Cluster::shared(), sizes).await
    }

    /// Retool's tables without a row.
    pub(crate) async fn empty_schema() -> Self {
        Self::copy_of(Cluster::shared(), Template::Schema).await
    }

    /// As [`seeded`](Self::seeded), on a server that the test brings along.
    pub(crate) async fn seeded_on(cluster: Arc<Cluster>, sizes: Sizes) -> Self {
        Self::copy_of(cluster, Template::Seeded(sizes)).await
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The superuser's connection string.
    pub(crate) fn url(&self) -> String {
        self.cluster.url_of(&self.name)
    }

    /// A role's connection string. Its password is really asked for.
    pub(crate) fn url_as(&self, role: &Role) -> String {
        format!("postgres://{}:{}@{}/{}", role.name, role.password, self.cluster.address(), self.name)
    }

    /// A connection of the superuser.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url()).await.unwrap()
    }

    /// A connection of a role.
    pub(crate) async fn client_as(&self, role: &Role) -> Client {
        connect(&self.url_as(role)).await.unwrap()
    }

    /// Runs statements as the superuser, one or many.
    pub(crate) async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// A new role with exactly these privileges, each a GRANT between its first word and its `TO`:
    /// `SELECT (id, name) ON organizations`.
    pub(crate) async fn create_role(&self, privileges: &[&str]) -> Role {
        let name = self.cluster.unique_name();
        let password = format!("{:032x}", rand::random::<u128>());
        let mut sql = format!("CREATE ROLE {name} LOGIN PASSWORD '{password}';");
        for privilege in privileges {
            sql.push_str(&format!("GRANT {privilege} TO {name};"));
        }
        self.roles.lock().unwrap().push(name.clone());
        self.execute(&sql).await;
        Role { name, password }
    }

    /// A new role with what the script of `setup-sql` grants, extras included.
    pub(crate) async fn documented_role(&self, provisioning: &[Provisioning]) -> Role {
        let role = self.create_role(&[]).await;
        let wanted = Wanted {
            groups: provisioning.contains(&Provisioning::Groups),
            pages: provisioning.contains(&Provisioning::Pages),
            extras: true,
        };
        let scope = Scope { provisioning: true, managed_groups: true, ..Scope::default() };
        self.execute(&script(&RoleName::new(&role.name).unwrap(), wanted, scope)).await;
        role
    }

    /// What was run in this database, by anyone, since it was made or the count was
    /// [forgotten](Self::forget_statements). The questions that tests ask about it are left out.
    pub(crate) async fn statements(&self) -> Vec<Statement> {
        self.counted(None).await
    }

    /// What one role ran in this database. BEGIN, COMMIT and SET are statements too; what a trigger or
    /// a foreign key runs is not.
    pub(crate) async fn statements_of(&self, role: &Role) -> Vec<Statement> {
        self.counted(Some(&role.name)).await
    }

    /// Starts the count of statements anew, for this database only.
    pub(crate) async fn forget_statements(&self) {
        self.execute(
            "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()",
        )
        .await;
    }

    async fn counted(&self, role: Option<&str>) -> Vec<Statement> {
        const COUNTED: &str = "
            SELECT s.query, s.calls, s.rows
            FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.userid
            WHERE d.datname = current_database() AND ($1::text IS NULL OR r.rolname = $1)
              AND s.query NOT LIKE '%pg_stat_statements%'
            ORDER BY s.query";
        let rows = self.client().await.query(COUNTED, &[&role]).await.unwrap();
        let statement = |row: &Row| Statement { query: row.get(0), calls: row.get(1), rows: row.get(2) };
        rows.iter().map(statement).collect()
    }

    async fn copy_of(cluster: Arc<Cluster>, template: Template) -> Self {
        let template = template.on(&cluster).await;
        let name = cluster.unique_name();
        let client = connect(&cluster.url_of("postgres")).await.unwrap();
        client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
        Self { cluster, name, roles: Mutex::default() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let roles = std::mem::take(&mut *self.roles.lock().unwrap_or_else(|poison| poison.into_inner()));
        block_on(async {
            // A test may have stopped the server; what stays behind then goes with it.
            let Ok(client) = connect(&self.cluster.url_of("postgres")).await else { return };
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            let _ = client.batch_execute(&drop).await;
            for role in roles {
                let _ = client.batch_execute(&format!("DROP ROLE IF EXISTS {role}")).await;
            }
        });
    }
}

// === impl Template ===

impl Template {
    /// The name of the template's database, made now if it is the first of its kind.
    async fn on(self, cluster: &Cluster) -> String {
        let mut templates = cluster.templates.lock().await;
        if let Some(name) = templates.get(&self) {
            return name.clone();
        }
        let name = cluster.unique_name();
        let server = connect(&cluster.url_of("postgres")).await.unwrap();
        server.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        cluster.psql(&name, &[], &project_file("retool/schema.sql"));
        if let Self::Seeded(sizes) = self {
            let sizes = [
                ("users", sizes.users),
                ("groups", sizes.groups),
                ("pages", sizes.pages),
                ("resources", sizes.resources),
            ]
            .map(|(name, size)| (name, size.to_string()));
            let variables = sizes.each_ref().map(|(name, size)| (*name, size.as_str()));
            cluster.psql(&name, &variables, &project_file("retool/seed.sql"));
        }
        let database = connect(&cluster.url_of(&name)).await.unwrap();
        database.batch_execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
        templates.insert(self, name.clone());
        name
    }
}
