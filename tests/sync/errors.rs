//! Failed calls: which are retried and when, which are skipped, and which end a sync.

use std::time::Duration;

use baton_retool::agent::sync::{Error, Options, Workers};
use baton_retool::proto::connector::RateLimitDescription;
use baton_retool::proto::{any, timestamp};
use prost::Message;
use prost_types::Any;
use time::OffsetDateTime;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::support::memory::Memory;
use crate::support::rows::{plain, resource, small, sync, sync_with};
use crate::support::scripted::Script;

fn unavailable() -> Status {
    Status::unavailable("come back later")
}

#[tokio::test(start_paused = true)]
async fn retries_a_temporary_failure_with_growing_waits() {
    let script = small();
    script.fail(
        "ListGrants",
        "group/g1",
        "",
        vec![unavailable(), Status::deadline_exceeded("slow"), unavailable()],
    );
    let begun = Instant::now();
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    assert_eq!(script.count("ListGrants"), 4 + 3);
    assert_eq!(memory.grants.len(), 3);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(1 + 2 + 3) && waited < Duration::from_secs(7), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_resets_after_a_success_and_is_at_most_a_minute() {
    let script = small();
    script.fail("ListResourceTypes", "", "", vec![unavailable(); 2]);
    script.fail("ListStaticEntitlements", "user", "", vec![unavailable(); 2]);
    let begun = Instant::now();
    sync(&script).await.0.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 1 + 2 + 1 + 2);

    let script = small();
    script.fail("ListResourceTypes", "", "", vec![unavailable(); 100]);
    let begun = Instant::now();
    sync(&script).await.0.unwrap();
    assert_eq!(begun.elapsed().as_secs(), (1..=60).sum::<u64>() + 40 * 60);
}

#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_in_the_error_sets_the_wait() {
    let script = small();
    let reset_at = OffsetDateTime::now_utc() + time::Duration::seconds(40);
    let description = RateLimitDescription { reset_at: Some(timestamp(reset_at)), ..Default::default() };
    let details = Details { details: vec![any(&description)] }.encode_to_vec();
    let limited = Status::with_details(Code::Unavailable, "too fast", details.into());
    script.fail("ListResources", "group", "", vec![limited]);
    let begun = Instant::now();
    sync(&script).await.0.unwrap();
    let waited = begun.elapsed().as_secs_f64();
    // The real clock advances while the test runs.
    assert!(waited > 10.0 && waited < 41.0, "{waited}");
}

#[tokio::test]
async fn not_found_skips_the_rest_of_the_listing() {
    let script = small();
    script.fail("ListGrants", "group/g1", "", vec![Status::not_found("it went away")]);
    script.fail("ListStaticEntitlements", "user", "", vec![Status::not_found("no templates")]);
    let (outcome, memory) = sync(&script).await;
    assert_eq!(outcome.unwrap().warnings, 2);
    assert_eq!(memory.grants.ids(), ["group:g2:member:user:u1", "group:g2:member:user:u2"]);
    assert!(memory.finished.is_some());
}

#[tokio::test]
async fn not_found_for_resource_types_ends_the_sync() {
    let script = small();
    script.fail("ListResourceTypes", "", "", vec![Status::not_found("none")]);
    let (outcome, memory) = sync(&script).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.for_caller(), "ListResourceTypes of the connector failed with NotFound: none");
    // The message of a status can contain names of people, so it is not in the form for the log.
    assert_eq!(error.to_string(), "ListResourceTypes of the connector failed with NotFound: ...");
    assert!(memory.finished.is_none());
}

#[tokio::test]
async fn other_errors_end_the_sync_at_once() {
    for code in [
        Code::ResourceExhausted,
        Code::PermissionDenied,
        Code::Unimplemented,
        Code::Internal,
        Code::Aborted,
        Code::Unauthenticated,
        Code::InvalidArgument,
        Code::Unknown,
    ] {
        for (method, target) in
            [("ListStaticEntitlements", "user"), ("ListEntitlements", "group/g1"), ("ListGrants", "group/g1")]
        {
            let script = small();
            script.fail(method, target, "", vec![Status::new(code, "no")]);
            let (outcome, memory) = sync(&script).await;
            let error = outcome.unwrap_err();
            assert_eq!(error.status().unwrap().code(), code);
            assert!(memory.finished.is_none());
            assert_eq!(script.count("Cleanup"), 0);
        }
    }
}

#[tokio::test]
async fn one_error_cancels_the_other_workers() {
    let script = Script::new();
    script.types(vec![plain("a")]);
    script.resources("a", (0..50).map(|number| resource("a", &number.to_string())).collect());
    // The other three calls never return: they wait for a fourth one.
    script.only_together("ListGrants", 4);
    script.fail("ListGrants", "a/47", "", vec![Status::internal("broken")]);
    let options = Options { workers: Workers::Count(4), ..Default::default() };
    let (outcome, _) = sync_with(&script, options, Memory::default()).await;
    assert_eq!(outcome.unwrap_err().status().unwrap().code(), Code::Internal);
    assert!(script.count("ListGrants") < 50);
}

/// A sync of this many resources, some of which are not found.
async fn skipping(resources: usize, missing: usize) -> Result<u64, Error> {
    let script = Script::new();
    script.types(vec![plain("a")]);
    script.resources("a", (0..resources).map(|number| resource("a", &number.to_string())).collect());
    for number in 0..missing {
        script.fail("ListEntitlements", &format!("a/{number}"), "", vec![Status::not_found("gone")]);
    }
    let (outcome, memory) = sync(&script).await;
    assert_eq!(outcome.is_ok(), memory.finished.is_some());
    outcome.map(|outcome| outcome.warnings)
}

#[tokio::test]
async fn over_ten_skipped_listings_and_a_tenth_of_all_end_the_sync() {
    assert_eq!(skipping(10, 10).await.unwrap(), 10);
    assert_eq!(skipping(200, 11).await.unwrap(), 11);
    let error = skipping(30, 11).await.unwrap_err();
    assert!(matches!(error, Error::TooManyWarnings { warnings: 11, .. }), "{error}");
    assert!(error.for_caller().contains("NotFound: gone"), "{error}");
    assert!(!error.to_string().contains("gone"), "{error}");
}

#[tokio::test]
async fn a_failed_validate_starts_no_sync() {
    let script = small();
    script.fail("Validate", "", "", vec![Status::permission_denied("wrong password")]);
    let (outcome, memory) = sync(&script).await;
    assert_eq!(
        outcome.unwrap_err().for_caller(),
        "Validate of the connector failed with PermissionDenied: wrong password"
    );
    assert!(memory.kind.is_none());
    assert_eq!(script.said(), ["Validate"]);
}

#[tokio::test]
async fn a_failed_cleanup_leaves_the_sync_complete() {
    let script = small();
    script.fail("Cleanup", "", "", vec![Status::internal("no")]);
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    assert!(memory.finished.is_some());
}

#[tokio::test]
async fn a_storage_error_ends_the_sync_with_its_reason() {
    let script = small();
    let memory = Memory { broken: Some("the disk is full"), ..Default::default() };
    let (outcome, memory) = sync_with(&script, Options::default(), memory).await;
    assert_eq!(outcome.unwrap_err().to_string(), "the disk is full");
    assert!(memory.finished.is_none());
}
