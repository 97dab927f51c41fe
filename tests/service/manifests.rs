//! The manifests of ConductorOne's customers: they work with only the image changed.

use std::collections::BTreeMap;
use std::fs;

use config::{Config, File, FileFormat};
use serde_json::Value;

use super::small;
use crate::support::c1::C1;
use crate::support::cluster::project_file;
use crate::support::postgres::Database;
use crate::support::server::{Server, program};

fn manifest(name: &str) -> Value {
    let text = fs::read_to_string(project_file("tests/data/kubernetes").join(name)).unwrap();
    Config::builder()
        .add_source(File::from_str(&text, FileFormat::Yaml))
        .build()
        .and_then(Config::try_deserialize)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_manifests_start_the_service_mode() {
    let (secret, deployment) = (manifest("secret.yaml"), manifest("deployment.yaml"));
    let pod = &deployment["spec"]["template"];
    for labels in [&pod["metadata"]["labels"], &deployment["spec"]["selector"]["matchLabels"]] {
        assert_eq!(
            (labels["app"].as_str(), labels["baton-app"].as_str()),
            (Some("baton-retool"), Some("retool"))
        );
    }
    let container = &pod["spec"]["containers"][0];
    assert!(container["args"].is_null() && container["command"].is_null());
    assert_eq!(container["envFrom"][0]["secretRef"]["name"], secret["metadata"]["name"]);

    let database = Database::small().await;
    let c1 = C1::start().await;
    let given: BTreeMap<String, String> = secret["stringData"]
        .as_object()
        .unwrap()
        .keys()
        .map(|key| key.to_uppercase())
        .map(|key| {
            let value = match key.as_str() {
                "BATON_CLIENT_ID" => c1.client_id(),
                "BATON_CLIENT_SECRET" => c1.secret(),
                "BATON_CONNECTION_STRING" => database.url(),
                "BATON_PROVISIONING" => "true".to_owned(),
                other => panic!("what is {other} for?"),
            };
            (key, value)
        })
        .collect();
    assert_eq!(given.len(), 4);
    assert_eq!(container["env"][0]["name"], "BATON_HOST_ID");
    // The double expects this host id, and the image enables the health check.
    let mut command = program();
    command.envs(given).env("BATON_HOST_ID", "test-host").env("SSL_CERT_FILE", c1.authority());
    command.env("BATON_HEALTH_CHECK", "true").env("BATON_HEALTH_CHECK_PORT", "0");
    let server = Server::run(command);
    c1.run(small()).await;
    let (status, lines) = server.stop();
    assert!(status.success());
    let complaints: Vec<&Value> =
        lines.iter().filter(|line| !matches!(line["level"].as_str(), Some("info" | "debug"))).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
