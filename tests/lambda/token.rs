//! The token for the configuration service, and the hosts to which the function connects.

use serde_json::json;

use crate::reload::{expecting, types};
use crate::start::metadata;
use crate::support::hosted::caller::Form;
use crate::support::hosted::stage::{NOWHERE, Parts, Stage};
use crate::support::hosted::{Config, Failure};
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn accepts_a_bearer_token_and_a_token_without_a_lifetime() {
    let parts = Parts::new(NOWHERE).await;
    parts.hosted.plan(|plan| {
        plan.nonce = None;
        plan.token_type = "bearer";
        plan.token_life = None;
    });
    let stage = parts.run();
    metadata(&stage).await;
    assert_eq!(stage.parts.hosted.token_requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_within_twenty_seconds_is_not_used_again() {
    for (life, requests) in [(15, 2), (3600, 1)] {
        let parts = Parts::new(NOWHERE).await;
        parts.hosted.plan(|plan| {
            plan.nonce = None;
            plan.token_life = Some(life);
        });
        let settings = json!({ "connection-string": NOWHERE, "skip-pages": true });
        parts.hosted.add("cv-2", Config::of("cv-2", settings));
        let stage = parts.run();
        assert_eq!(types(&stage, "cv-2").await, 4);
        assert_eq!(stage.parts.hosted.token_requests(), requests, "{life}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_names_the_key_of_the_secret() {
    let mut parts = Parts::new(NOWHERE).await;
    parts.hosted.name_key("key-7");
    metadata(&parts.run()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_replace_the_host_in_the_client_id() {
    // The double checks that proofs contain the configured hosts.
    for name in ["127.0.0.1", "localhost"] {
        let parts = Parts::new(NOWHERE).await;
        let address = parts.hosted.address();
        let configuration_host = format!("{name}:{}", address.port());
        parts.hosted.hide(&configuration_host);
        let mut program = parts.program("lambda");
        program.env("BATON_LAMBDA_TOKEN_HOST", address.to_string());
        // The host of the token endpoint is the default.
        if name == "localhost" {
            program.env("BATON_LAMBDA_CONFIGURATION_HOST", &configuration_host);
        }
        let stage = Stage { function: Server::run(program), parts };
        metadata(&stage).await;
        assert_eq!(stage.parts.hosted.asked(), [""]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_token_or_an_unreadable_answer_leads_to_one_more_attempt() {
    for (failures, refusal, requests) in [
        // The rejected token is not used again.
        (&[Failure::Rejected][..], None, 1),
        (&[Failure::Malformed], None, 0),
        (&[Failure::Rejected, Failure::Rejected], Some("answered Unauthenticated"), 1),
        (&[Failure::Malformed, Failure::Malformed], Some("malformed status"), 0),
    ] {
        let stage = Stage::nowhere().await;
        assert_eq!(types(&stage, "").await, 5);
        let settings = json!({ "connection-string": NOWHERE, "skip-pages": true });
        stage.parts.hosted.add("cv-2", Config::of("cv-2", settings));
        let before = stage.parts.hosted.token_requests();
        stage.parts.hosted.plan(|plan| plan.failures.extend(failures));
        match refusal {
            Some(text) => expecting(&stage, "cv-2", Form::Json).await.assert_failed(14, text),
            None => assert_eq!(types(&stage, "cv-2").await, 4, "{failures:?}"),
        }
        assert_eq!(stage.parts.hosted.token_requests(), before + requests, "{failures:?}");
    }
}
