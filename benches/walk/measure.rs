//! One organization: its database, the program, and a walk through both.

use std::path::Path;
use std::time::{Duration, Instant};

use baton_retool::agent::sync::{Counts, Visitor, walk};
use baton_retool::proto::connector::connector_service_client::ConnectorServiceClient;
use baton_retool::proto::connector::{ConnectorServiceValidateRequest, Resource};
use tonic::transport::{Channel, Endpoint};

use crate::count;
use crate::process::{cpu, cpu_of_family, peak_memory};
use crate::report::{Measured, Organization, Source};
use crate::support::cluster::Cluster;
use crate::support::postgres::{Database, Role};
use crate::support::server::Server;

/// The flow control window of an agent's connection: one answer of the largest accepted size.
const WINDOW: u32 = 4 * 1024 * 1024;

/// A walk of this duration does not need to be repeated.
const LONG: Duration = Duration::from_secs(20);

/// Seeds the organization on the throwaway server and measures it with the documented role, with each of the
/// sources.
pub(crate) async fn measure(organization: Organization, walks: usize, starts: usize) -> Vec<Measured> {
    let cluster = Cluster::shared();
    let database = Database::seeded(organization.sizes).await;
    // In a database in use, autovacuum would already have done this.
    database.execute("VACUUM ANALYZE").await;
    let role = database.documented_role(&[]).await;

    let mut measured: Vec<Measured> = Vec::new();
    for turn in 0..walks {
        if turn > 0 && measured.iter().map(|one| one.wall).sum::<Duration>() >= LONG {
            break;
        }
        for source in Source::ALL {
            measured.push(one_walk(&organization, source, &cluster, &database, &role).await);
        }
    }
    let mut first_answers = Vec::new();
    for _ in 0..starts {
        first_answers.push(first_answer(&database, &role).await);
    }
    first_answers.sort();
    let first_answer = first_answers[first_answers.len() / 2];
    let median = |source| {
        let (mut of_source, rest) =
            std::mem::take(&mut measured).into_iter().partition::<Vec<_>, _>(|one| one.source == source);
        measured = rest;
        of_source.sort_by_key(|one| one.wall);
        let shown = of_source.swap_remove(of_source.len() / 2);
        Measured { first_answer, ..shown }
    };
    Source::ALL.map(median).into()
}

/// A walk through a program that has not served any call before.
async fn one_walk(
    organization: &Organization,
    source: Source,
    cluster: &Cluster,
    database: &Database,
    role: &Role,
) -> Measured {
    let postmaster = postmaster(cluster);
    database.forget_statements().await;
    let server = Server::start_quietly(&database.url_as(role), source.flags());
    let program = server.process_id();
    let spent = |process: Option<u32>| cpu_of_family(process?);
    let before = (spent(Some(program)), spent(postmaster), cpu(std::process::id()));

    let channel = channel(&server).await;
    let (found, phases) = walk(channel.clone(), Phases::default()).await.expect("the walk gets to its end");

    let grants_phase = phases.grants();
    let after = (spent(Some(program)), spent(postmaster), cpu(std::process::id()));
    let peak_memory = peak_memory(program);
    let statements = database.statements_of(role).await;
    let statements = statements.iter().filter(|one| !one.frames_another()).map(|one| one.calls).sum();
    let mut met = Counts::default();
    for (_, counts) in &found.types {
        met.resources += counts.resources;
        met.entitlements += counts.entitlements;
        met.grants += counts.grants;
    }
    // This follows all other measurements, because it is another sync.
    let with_grants: Vec<&str> =
        found.types.iter().filter(|(_, counts)| counts.grants > 0).map(|(one, _)| one.id.as_str()).collect();
    let mut resources = phases.resources;
    resources
        .retain(|one| one.id.as_ref().is_some_and(|id| with_grants.contains(&id.resource_type.as_str())));
    let (served, serving) = count::list_grants(channel, &resources).await.expect("all grants are listed");
    assert_eq!(served, met.grants, "both ways list the same grants");
    Measured {
        organization: organization.clone(),
        source,
        met,
        calls: found.calls,
        statements,
        wall: found.elapsed,
        grants_phase,
        serving,
        server_cpu: difference(before.0, after.0),
        database_cpu: difference(before.1, after.1),
        client_cpu: difference(before.2.map(|cpu| cpu.own), after.2.map(|cpu| cpu.own)),
        peak_memory,
        largest_answer: found.largest_answer,
        first_answer: Duration::ZERO,
        binary: std::fs::metadata(env!("CARGO_BIN_EXE_baton-retool")).map(|file| file.len()).ok(),
    }
}

/// The time from the program's exec to its first answer to Validate, which has queried the database.
async fn first_answer(database: &Database, role: &Role) -> Duration {
    let started = Instant::now();
    let server = Server::start_quietly(&database.url_as(role), &[]);
    let mut client = ConnectorServiceClient::new(channel(&server).await);
    client.validate(ConnectorServiceValidateRequest::default()).await.expect("Validate succeeds");
    started.elapsed()
}

pub(crate) async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address()))
        .expect("an address is a URL")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect()
        .await
        .expect("the program listens")
}

/// The first process of a server on this machine; `None` if it runs in a container.
pub(crate) fn postmaster(cluster: &Cluster) -> Option<u32> {
    let data: &Path = &cluster.socket()?.join("data");
    let pid_file = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    pid_file.lines().next()?.parse().ok()
}

pub(crate) fn difference(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    Some(after? - before?)
}

/// The time at which the walk changed from entitlements to grants, and the time of the last grant.
#[derive(Default)]
struct Phases {
    before_grants: Option<Instant>,
    last_grants: Option<Instant>,
    /// All listed resources.
    resources: Vec<Resource>,
}

impl Phases {
    fn grants(&self) -> Duration {
        match (self.before_grants, self.last_grants) {
            (Some(start), Some(end)) => end.duration_since(start),
            _ => Duration::ZERO,
        }
    }
}

impl Visitor for Phases {
    fn resource(&mut self, resource: &Resource) {
        self.resources.push(resource.clone());
    }

    fn progress(&mut self, phase: &'static str, _: Counts) {
        match phase {
            "entitlements" => self.before_grants = Some(Instant::now()),
            "grants" => self.last_grants = Some(Instant::now()),
            _ => {}
        }
    }
}
