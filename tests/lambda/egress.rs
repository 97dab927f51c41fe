//! The egress policy that comes with a configuration.

use baton_retool::proto::connectorapi::{EgressMode, EgressSection, ServedPolicyEnvelope};
use serde_json::{Value, json};

use crate::start::{failure, metadata};
use crate::support::hosted::Config;
use crate::support::hosted::stage::{NOWHERE, Parts, Stage};

/// A policy for version `cv-1` of the configuration.
pub(crate) fn policy(mode: EgressMode, hosts: &[&str]) -> ServedPolicyEnvelope {
    ServedPolicyEnvelope {
        envelope_version: 1,
        config_version: "cv-1".to_owned(),
        egress: Some(EgressSection {
            schema_version: 1,
            https_only: true,
            allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            mode: mode.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn settings(database: &str, api: &str) -> Value {
    json!({
        "connection-string": format!("user=baton dbname=retool port=1 {database}"),
        "retool-api-base-url": api, "retool-api-token": "t",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enforced_egress_policy_refuses_other_hosts() {
    let parts = Parts::new(NOWHERE).await;
    let enforced = policy(EgressMode::Enforce, &["db.example.com", "retool.example.com"]);
    let api = "https://retool.example.com";
    for (database, api, word) in [
        ("host=127.0.0.1", api, "connections to 127.0.0.1"),
        ("host=db2.example.com", api, "connections to db2.example.com"),
        // The address is the destination, not the name beside it.
        ("host=db.example.com hostaddr=127.0.0.1", api, "connections to 127.0.0.1"),
        ("host=db.example.com,db2.example.com", api, "connections to db2.example.com"),
        ("host=db.example.com", "https://api.example.com", "connections to https://api.example.com"),
        ("host=db.example.com", "http://retool.example.com", "connections to http://retool.example.com"),
    ] {
        let config = Config::of("cv-1", settings(database, api));
        parts.hosted.serve("cv-1", Config { policy: Some(enforced.clone()), ..config });
        let (code, said) = failure(&parts, &[]);
        assert!(code == 1 && said.contains(word) && said.contains("egress policy"), "{said}");
    }
    let good = Config::of("cv-1", settings("host=DB.example.com,retool.example.com", api));
    parts.hosted.serve("cv-1", Config { policy: Some(enforced), ..good });
    metadata(&parts.run()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_egress_policy_that_is_not_enforced_logs_warnings() {
    let parts = Parts::new(NOWHERE).await;
    let database = "host=db.example.com,db2.example.com hostaddr=127.0.0.1,127.0.0.2";
    let config = Config::of("cv-1", settings(database, "https://retool.example.com"));
    let report = policy(EgressMode::Report, &["retool.example.com"]);
    parts.hosted.serve("cv-1", Config { policy: Some(report), ..config });
    let stage = parts.run();
    metadata(&stage).await;
    for host in ["127.0.0.1", "127.0.0.2"] {
        stage.function.wait_for_log(|line| line["host"] == host && line["level"] == "warn");
    }
    let Stage { function, .. } = stage;
    let (_, lines) = function.stop();
    let warnings =
        lines.iter().filter(|line| line["msg"].as_str().is_some_and(|text| text.contains("egress")));
    assert_eq!(warnings.count(), 2);
}
