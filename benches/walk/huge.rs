//! An organization that is too large to be seeded or walked: the cost of its snapshot, and the speed of its
//! answers.

use std::time::{Duration, Instant};

use baton_retool::proto::connector::grants_service_client::GrantsServiceClient;
use baton_retool::proto::connector::{GrantsServiceListGrantsRequest, Resource, ResourceId};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::measure::{channel, difference, postmaster};
use crate::process::{cpu_of_family, peak_memory};
use crate::support::cluster::Cluster;
use crate::support::postgres::Database;
use crate::support::server::Server;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// A million users in 2,000 groups, five memberships each; 50,000 pages with ten rows each; 5,000 resources
/// with ten rows each. The first resource has a row of a group with every user, like Retool's own group.
const ROWS: &str = r#"
SET session_replication_role = replica;
INSERT INTO organizations (id, name, "createdAt", "updatedAt") VALUES (1, 'Huge', now(), now());
INSERT INTO folders (id, "organizationId", "folderType", "createdAt", "updatedAt") VALUES (1, 1, 'app', now(), now());
INSERT INTO users (id, email, "organizationId", "createdAt", "updatedAt")
    SELECT i, 'user' || i || '@huge.example', 1, now(), now() FROM generate_series(1, 1000000) i;
INSERT INTO groups (id, name, "organizationId", "unpublishedReleaseAccess", "createdAt", "updatedAt")
    SELECT i, 'group ' || i, 1, false, now(), now() FROM generate_series(1, 2000) i;
INSERT INTO user_groups ("userId", "groupId", "isAdmin", "createdAt", "updatedAt")
    SELECT u, CASE k WHEN 0 THEN 1 ELSE (u * 7 + k * 397) % 1999 + 2 END, u % 50 = 0, now(), now()
    FROM generate_series(1, 1000000) u, generate_series(0, 4) k;
INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
    SELECT i, 'page ' || i, 1, 1, now(), now() FROM generate_series(1, 50000) i;
INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
    SELECT (p * 13 + k * 199) % 1999 + 2, p, (ARRAY['read', 'write', 'own'])[1 + k % 3], now(), now()
    FROM generate_series(1, 50000) p, generate_series(0, 9) k;
INSERT INTO resources (id, name, type, "organizationId", "createdAt", "updatedAt")
    SELECT i, 'resource ' || i, 'postgresql', 1, now(), now() FROM generate_series(1, 5000) i;
INSERT INTO group_resources ("groupId", "resourceId", "accessLevel", "createdAt", "updatedAt")
    SELECT CASE WHEN r = 1 AND k = 0 THEN 1 ELSE (r * 13 + k * 199) % 1999 + 2 END, r,
           (ARRAY['read', 'write', 'own'])[1 + k % 3], now(), now()
    FROM generate_series(1, 5000) r, generate_series(0, 9) k;
"#;

/// Fills the tables, reads a snapshot and lists some grants. Returns the text of the report.
pub(crate) async fn measure(as_json: bool) -> String {
    let cluster = Cluster::shared();
    let database = Database::empty_schema().await;
    database.execute(ROWS).await;
    database.execute("VACUUM ANALYZE").await;
    let role = database.documented_role(&[]).await;
    let server = Server::start_quietly(&database.url_as(&role), &[]);
    let program = server.process_id();
    let spent = || (cpu_of_family(program), postmaster(&cluster).and_then(cpu_of_family));
    let mut grants = GrantsServiceClient::new(channel(&server).await);

    let before = spent();
    let began = Instant::now();
    let (_, first) = first_page(&mut grants, "group", "g2").await;
    let first_answer = began.elapsed();
    let after = spent();
    let read = server.wait_for_log(|line| line["msg"] == "read a snapshot of access for a sync");

    let began = Instant::now();
    let everybody = all(&mut grants, "resource", "r1").await;
    let took = began.elapsed();
    let number = |name: &str| read[name].as_f64().unwrap_or_default();
    let report = json!({
        "organization": "huge",
        "snapshot_rows": number("rows"),
        "snapshot_mebibytes": number("bytes") / MEBIBYTE,
        "read_seconds": number("milliseconds") / 1e3,
        "first_answer_seconds": first_answer.as_secs_f64(),
        "first_answer_grants": first,
        "read_server_cpu_seconds": difference(before.0, after.0),
        "read_database_cpu_seconds": difference(before.1, after.1),
        "peak_rss_mebibytes": peak_memory(program).map(|bytes| bytes as f64 / MEBIBYTE),
        "grants_of_largest_resource": everybody,
        "grants_per_second": everybody as f64 / took.as_secs_f64().max(Duration::from_millis(1).as_secs_f64()),
    });
    if as_json { report.to_string() } else { as_lines(&report) }
}

fn as_lines(report: &Value) -> String {
    let fields = report.as_object().into_iter().flatten();
    fields.map(|(name, value)| format!("{:<30}{value}\n", name.replace('_', " "))).collect()
}

/// All grants on a resource, in a sync.
async fn all(client: &mut GrantsServiceClient<Channel>, type_id: &str, id: &str) -> usize {
    let (mut token, mut count) = (String::new(), 0);
    loop {
        let (next, grants) = page(client, type_id, id, token).await;
        count += grants;
        if next.is_empty() {
            return count;
        }
        token = next;
    }
}

async fn first_page(client: &mut GrantsServiceClient<Channel>, type_id: &str, id: &str) -> (String, usize) {
    page(client, type_id, id, String::new()).await
}

async fn page(
    client: &mut GrantsServiceClient<Channel>,
    type_id: &str,
    id: &str,
    page_token: String,
) -> (String, usize) {
    let id = ResourceId { resource_type: type_id.to_owned(), resource: id.to_owned(), ..Default::default() };
    let request = GrantsServiceListGrantsRequest {
        resource: Some(Resource { id: Some(id), ..Default::default() }),
        page_token,
        active_sync_id: "huge".to_owned(),
        ..Default::default()
    };
    let answer = client.list_grants(request).await.expect("grants are listed").into_inner();
    (answer.next_page_token, answer.list.len())
}
