//! Reports to the operator: log, errors, exit codes.

use std::net::TcpListener;
use std::process::Output;

use baton_retool::proto::connector::ResourcesServiceListResourcesRequest;
use baton_retool::proto::connector::resources_service_client::ResourcesServiceClient;
use serde_json::Value;
use tonic::Code;

use crate::support::postgres::Database;
use crate::support::server::{Server, program};

/// No server listens on this port. None is needed, because the program connects at the first query.
const NOWHERE: &str = "host=127.0.0.1 port=1 user=baton password=hunter2 dbname=retool sslmode=disable";

fn organizations() -> ResourcesServiceListResourcesRequest {
    ResourcesServiceListResourcesRequest { resource_type_id: "org".to_owned(), ..Default::default() }
}

fn is_call(line: &Value) -> bool {
    line["msg"] == "finished call" && line["grpc.method"] == "ListResources"
}

fn run(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    program().args(arguments).current_dir(directory.path()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_failed_call_is_logged_with_the_reason_that_the_caller_got() {
    let server = Server::start_at(NOWHERE, &[]);
    let mut client = ResourcesServiceClient::new(server.channel().await);
    let status = client.list_resources(organizations()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("127.0.0.1:1"), "{}", status.message());
    let line = server.wait_for_log(is_call);
    assert_eq!(line["level"], "warn");
    assert_eq!(line["grpc.code"], "Unavailable");
    assert_eq!(line["error"], status.message());
    assert!(!line.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_call_that_succeeds_is_logged_without_an_error() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let mut client = ResourcesServiceClient::new(server.channel().await);
    assert_eq!(client.list_resources(organizations()).await.unwrap().into_inner().list.len(), 2);
    let line = server.wait_for_log(is_call);
    assert_eq!(line["level"], "debug");
    assert_eq!(line["grpc.code"], "Ok");
    assert!(line.get("error").is_none(), "{line}");
}

#[test]
fn without_a_command_the_help_goes_to_stderr_without_colors() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let help = text(&output.stderr);
    assert!(help.contains("--connection-string") && !help.contains('\x1b'), "{help}");
}

#[test]
fn an_address_in_use_is_reported_once_and_not_as_a_usage_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        run(&["serve", "--connection-string", NOWHERE, "--listen", &address, "--log-format", "console"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains(&format!("baton-retool: cannot listen on {address}: ")), "{errors}");
    assert_eq!(errors.matches("in use").count(), 1, "{errors}");
}
