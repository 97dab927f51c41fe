//! The log: its format, its targets, and its forbidden contents.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use baton_retool::proto::connector::{
    ConnectorServiceGetMetadataRequest, EntitlementsServiceListEntitlementsRequest,
    EntitlementsServiceListStaticEntitlementsRequest, GrantsServiceListGrantsRequest,
    ResourceTypesServiceListResourceTypesRequest, ResourcesServiceListResourcesRequest,
};
use prost::Message;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::messages::{methods, random};
use crate::support::observe::see;
use crate::support::postgres::Database;
use crate::support::raw::Raw;
use crate::support::server::{Server, program};
use crate::support::wire::{Wire, eventually, id};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";

/// The program on a free port with these arguments, killed when dropped.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut program = program();
        program.args(["serve", "--connection-string", NOWHERE]).args(arguments);
        Self(program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    async fn end(mut self) {
        let kill = ["-c", r#"kill -TERM "$0""#, &self.0.id().to_string()];
        assert!(Command::new("sh").args(kill).status().unwrap().success());
        eventually("the end of the program", async || self.0.try_wait().unwrap()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn line_with(path: &Path, words: &str) -> String {
    eventually(words, async || {
        let text = fs::read_to_string(path).ok()?;
        text.lines().find(|line| line.contains(words)).map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn json_log_lines_begin_with_the_same_four_fields() {
    let server = Server::start_at(NOWHERE, &[]);
    let line = server.wait_for_log(|line| line["msg"] == "listening");
    let names: Vec<_> = line.as_object().unwrap().keys().take(4).collect();
    assert_eq!(names, ["level", "ts", "caller", "msg"]);
    assert_eq!(line["level"], "info");
    assert!(line["ts"].as_f64().unwrap() > 1e9, "{line}");
    assert!(line["caller"].as_str().unwrap().starts_with("cli/serve.rs:"), "{line}");
}

#[tokio::test]
async fn log_level_format_and_file_follow_the_settings() {
    let directory = tempfile::tempdir().unwrap();
    let files = ["one.log", "two.log"].map(|name| directory.path().join(name));
    let paths = files.each_ref().map(|path| path.to_str().unwrap().to_owned()).join(",");
    // At this address, an additional warning is logged.
    let wide = ["--listen", "0.0.0.0:0", "--insecure", "--log-path", &paths];

    let running = Running::start(&[&wide[..], &["--log-format", "console", "--log-level", "info"]].concat());
    for file in &files {
        let line = line_with(file, "listening").await;
        let columns: Vec<_> = line.split('\t').collect();
        assert_eq!(columns.len(), 5, "{line}");
        assert_eq!((columns[1], columns[3]), ("INFO", "listening"), "{line}");
        assert!(columns[4].starts_with(r#"{"address":"0.0.0.0:"#), "{line}");
        line_with(file, "unencrypted").await;
    }
    running.end().await;
    let [before, other] = files.each_ref().map(|file| fs::read_to_string(file).unwrap());
    // Lines that are logged at the same time can be in another order.
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&before), sorted(&other));

    let running = Running::start(&[&wide[..], &["--log-format", "json", "--log-level", "warn"]].concat());
    line_with(&files[0], r#""level":"warn""#).await;
    running.end().await;
    let text = fs::read_to_string(&files[0]).unwrap();
    let added = text.strip_prefix(&before).expect("the file was not appended to");
    assert!(added.contains("unencrypted") && !added.contains(r#""level":"info""#), "{added}");
}

#[test]
fn a_log_file_that_cannot_be_written_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/a.log");
    let output = program()
        .args(["serve", "--connection-string", NOWHERE, "--listen", "127.0.0.1:0", "--log-path"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("log-path") && said.contains(path.to_str().unwrap()), "{said}");
}

#[tokio::test]
async fn a_call_is_logged_with_all_its_fields() {
    const SYNC: &str = "2vHCMCTjNpEPKjFJqWpFTLpBpFQ";
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let request = ResourcesServiceListResourcesRequest {
        resource_type_id: "org".to_owned(),
        active_sync_id: SYNC.to_owned(),
        ..Default::default()
    };
    wire.raw("c1.connector.v2.ResourcesService/ListResources", request.encode_to_vec()).await.unwrap();
    let line = server.wait_for_log(|line| line["msg"] == "finished call");
    assert_eq!(line["level"], "debug");
    assert_eq!(line["grpc.service"], "c1.connector.v2.ResourcesService");
    assert_eq!(line["grpc.method"], "ListResources");
    assert_eq!(line["grpc.code"], "Ok");
    assert!(line["grpc.time_ms"].as_f64().unwrap() > 0.0, "{line}");
    assert_eq!(line["rows"], 2);
    assert_eq!(line["sync_id"], SYNC);
    assert!(line["peer.address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");

    wire.resources("user", Some(id("group", "g1")), 0, "").await.unwrap_err();
    let line = server.wait_for_log(|line| line["grpc.code"] == "InvalidArgument");
    assert_eq!(line["level"], "info");
    assert!(line["error"].as_str().unwrap().contains("are in an org"), "{line}");
}

#[tokio::test]
async fn a_failed_call_is_logged_with_its_sync_id() {
    const SYNC: &str = "2vHCMCTjNpEPKjFJqWpFTLpBpFQ";
    let server = Server::start_at(NOWHERE, &[]);
    let wire = Wire::to(&server).await;
    let (page_token, active_sync_id) = ("stale".to_owned(), SYNC.to_owned());
    let resource = Some(crate::support::wire::resource("user", "u1"));
    let types = ResourceTypesServiceListResourceTypesRequest {
        page_token: page_token.clone(),
        active_sync_id: active_sync_id.clone(),
        ..Default::default()
    };
    let resources = ResourcesServiceListResourcesRequest {
        resource_type_id: "org".to_owned(),
        active_sync_id: active_sync_id.clone(),
        ..Default::default()
    };
    let entitlements = EntitlementsServiceListEntitlementsRequest {
        resource: resource.clone(),
        page_token: page_token.clone(),
        active_sync_id: active_sync_id.clone(),
        ..Default::default()
    };
    let of_type = EntitlementsServiceListStaticEntitlementsRequest {
        resource_type_id: "user".to_owned(),
        page_token: page_token.clone(),
        active_sync_id: active_sync_id.clone(),
        ..Default::default()
    };
    let grants =
        GrantsServiceListGrantsRequest { resource, page_token, active_sync_id, ..Default::default() };
    for (service, method, request) in [
        ("ResourceTypesService", "ListResourceTypes", types.encode_to_vec()),
        ("ResourcesService", "ListResources", resources.encode_to_vec()),
        ("EntitlementsService", "ListEntitlements", entitlements.encode_to_vec()),
        ("EntitlementsService", "ListStaticEntitlements", of_type.encode_to_vec()),
        ("GrantsService", "ListGrants", grants.encode_to_vec()),
    ] {
        wire.raw(&format!("c1.connector.v2.{service}/{method}"), request).await.unwrap_err();
        let line = server.wait_for_log(|line| line["grpc.method"] == method);
        assert_eq!((&line["sync_id"], &line["rows"]), (&SYNC.into(), &Value::Null), "{line}");
    }
}

#[tokio::test]
async fn the_reason_of_a_failed_call_is_logged_without_caller_text() {
    const HOSTILE: [&str; 4] =
        ["x'ann@example.com", "'ann@example.com'", "\"ann@example.com", "a' 'ann@example.com' 'b\\"];
    let server = Server::start_at(NOWHERE, &[]);
    let wire = Wire::to(&server).await;
    for given in HOSTILE {
        let mut reflection = ServerReflectionClient::new(wire.channel());
        for wanted in [
            MessageRequest::FileContainingSymbol(given.to_owned()),
            MessageRequest::FileByFilename(given.to_owned()),
        ] {
            let request = ServerReflectionRequest { message_request: Some(wanted), ..Default::default() };
            let answers = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap();
            let status = answers.into_inner().message().await.unwrap_err();
            assert!(status.message().contains(given), "{status:?}");
        }
        let status = wire.resources(given, None, 0, "").await.unwrap_err();
        assert!(status.message().contains("does not exist; the resource types are"), "{status:?}");
        let wrong = crate::support::wire::resource("user", given);
        wire.grants(wrong, 0, "").await.unwrap_err();
    }
    wire.resources("org", None, 0, "stale").await.unwrap_err();
    let (_, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let errors: Vec<_> = logs.iter().filter_map(|line| line["error"].as_str()).collect();
    assert!(!errors.iter().any(|error| error.contains("ann@")), "{errors:?}");
    for (text, times) in [
        ("reflection does not know the name", 8),
        ("resource type \"...\" does not exist; the resource types are: org, user", 4),
        ("\"...\" is not an id of type user: its ids are the letter u", 4),
        ("page_token was not issued for this request (it belongs to another", 1),
        ("start the listing again without a page_token", 1),
    ] {
        let found = errors.iter().filter(|error| error.contains(text)).count();
        assert_eq!(found, times, "{text:?} in {errors:?}");
    }
}

/// E-mail addresses and names of all users in the seed.
async fn personal_data(database: &Database) -> Vec<String> {
    const TEXTS: &str = r#"
        SELECT DISTINCT text FROM users, LATERAL (VALUES (email), ("firstName"), ("lastName"), ("userName")) AS it (text)
        WHERE length(trim(text)) >= 4"#;
    let rows = database.reader().await.query(TEXTS, &[]).await.unwrap();
    let texts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(texts.len() > 50 && texts.iter().any(|text| text.contains('@')), "{texts:?}");
    texts
}

#[track_caller]
fn assert_tells_nothing(logs: &[Value], secrets: &[String]) {
    assert!(!logs.is_empty());
    for line in logs.iter().map(Value::to_string) {
        for secret in secrets {
            assert!(!line.contains(secret.as_str()), "{secret:?} is in the log: {line}");
        }
    }
}

#[tokio::test]
async fn no_secret_and_no_personal_data_is_logged() {
    const API_TOKEN: &str = "retool_01seededapitoken";
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    let mut secrets = personal_data(&database).await;
    let email = secrets.iter().find(|text| text.contains('@')).unwrap().clone();
    secrets.extend([role.password.clone(), API_TOKEN.to_owned()]);
    let environment =
        [("BATON_RETOOL_API_TOKEN", API_TOKEN), ("BATON_RETOOL_API_BASE_URL", "https://retool.example.com")];
    let server =
        Server::start_with(&environment, &database.url_as(&role), &["--provisioning", "--ticketing"]);
    see(server.channel().await).await.unwrap();

    // The address is in every text of every request, in headers and in the path.
    let wire = Wire::to(&server).await;
    let mut chance = StdRng::seed_from_u64(1);
    for (path, request) in methods() {
        for texts in [&[email.as_str()][..], &[&email, "user", "o1", "org"]] {
            for _ in 0..5 {
                let _ = wire.raw(&path, random(&mut chance, &request, texts).encode_to_vec()).await;
            }
        }
    }
    for kind in [email.as_str(), "user", "page", "org"] {
        let _ = wire.resources(kind, Some(id(&email, &email)), 0, &email).await;
        let _ = wire.resources(kind, Some(id("org", &email)), 0, &email).await;
        let _ = wire.resources(kind, Some(id("org", "o1")), 0, &email).await;
        let _ = wire.grants(crate::support::wire::resource(kind, &email), 0, "").await;
    }
    let raw = Raw::to(server.address()).await;
    let none = ConnectorServiceGetMetadataRequest::default();
    let headers = [
        ("grpc-encoding", email.as_str()),
        ("user-agent", email.as_str()),
        ("authorization", email.as_str()),
        ("grpc-timeout", email.as_str()),
    ];
    for path in ["c1.connector.v2.ConnectorService/GetMetadata", &format!("{email}/{email}")] {
        let _ = raw.call(path, &headers, &none).await;
    }

    // Statements that fail because of a value, then an unreachable database.
    database.reveal("(SELECT email FROM users WHERE email IS NOT NULL ORDER BY id LIMIT 1)::int::text").await;
    database.execute(&format!("GRANT SELECT ON users, real_organizations TO {}", role.name)).await;
    let broken = wire.organizations().await.unwrap_err();
    assert!(broken.message().contains("22P02"), "{broken:?}");
    assert!(!secrets.iter().any(|secret| broken.message().contains(secret)), "{broken:?}");
    database.execute(&format!("ALTER ROLE {} NOLOGIN", role.name)).await;
    const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'baton-retool' AND datname = current_database()";
    database.execute(END).await;
    let refused = eventually("a refusal", async || wire.organizations().await.err()).await;
    assert!(!format!("{refused:?}").contains(&role.password));
    wire.organizations().await.unwrap_err();
    // The client has to notice the stop of the server.
    let (_, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    assert!(logs.len() > 300, "only {} lines", logs.len());
    assert_tells_nothing(&logs, &secrets);
}

#[tokio::test]
async fn bearer_tokens_are_never_logged() {
    const RIGHT: &str = "the-right-token-0123456789abcdef";
    const WRONG: &str = "the-wrong-token-0123456789abcdef";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    fs::write(&file, format!("{RIGHT}\n")).unwrap();
    let server = Server::start_at(NOWHERE, &["--auth-token-file", file.to_str().unwrap()]);
    let raw = Raw::to(server.address()).await;
    let none = ConnectorServiceGetMetadataRequest::default();
    for (token, code) in [(RIGHT, "0"), (WRONG, "16")] {
        let headers = [("authorization", format!("Bearer {token}"))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let ending = raw.call("c1.connector.v2.ConnectorService/GetMetadata", &headers, &none).await.unwrap();
        assert_eq!(ending.code.as_deref(), Some(code), "{ending:?}");
    }
    // The client has to notice the stop of the server.
    let (_, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    assert_tells_nothing(&logs, &[RIGHT, WRONG].map(str::to_owned));
}
