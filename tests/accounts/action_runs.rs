//! Runs of actions: inline waiting, status queries, and shutdown while an action runs.

use std::time::{Duration, Instant};

use baton_retool::proto::connector::action_service_client::ActionServiceClient;
use baton_retool::proto::connector::{BatonActionStatus, InvokeActionRequest};
use baton_retool::proto::{boolean, string};
use serde_json::Value;
use tonic::{Code, Request};

use crate::support::retool_api::{Gate, Reply};
use crate::support::stage::{Stage, action, action_on, assert_complete, assert_failed};
use crate::support::wire::{assert_refused, eventually};

fn waiting(seconds: i64) -> InvokeActionRequest {
    let inline_wait = Some(prost_types::Duration { seconds, nanos: 0 });
    InvokeActionRequest { inline_wait, ..action("disable_user", "u5") }
}

#[tokio::test]
async fn an_answer_waits_for_the_inline_wait_or_one_second() {
    let stage = Stage::new().await;
    stage.api.next("PATCH", Reply::Usual.late(Duration::from_millis(1500)));
    assert_complete(&stage.invoke(&waiting(30)).await.unwrap());

    for unsaid in [None, Some(prost_types::Duration::default())] {
        let gate = Gate::closed();
        stage.api.next("PATCH", Reply::Usual.behind(&gate));
        let begun = Instant::now();
        let request = InvokeActionRequest { inline_wait: unsaid, ..action("disable_user", "u5") };
        let answer = stage.invoke(&request).await.unwrap();
        assert_eq!(answer.status(), BatonActionStatus::Running);
        // Retool does not answer, so the wait must have ended. The default is one second.
        assert!((900..25_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        assert_eq!((answer.response, answer.name.as_str()), (None, "disable_user"));

        let running = stage.status(&answer.id).await.unwrap();
        assert_eq!((running.status(), &running.response), (BatonActionStatus::Running, &None));
        gate.open();
        let ended = eventually("the end of the action", async || {
            let state = stage.status(&answer.id).await.unwrap();
            (state.status() != BatonActionStatus::Running).then_some(state)
        })
        .await;
        assert_eq!(ended.status(), BatonActionStatus::Complete, "{ended:?}");
        assert_eq!((ended.id.as_str(), ended.name.as_str()), (answer.id.as_str(), "disable_user"));
        // That the account was disabled already, and the rate limits.
        let [unchanged, _] = &ended.annotations[..] else { panic!("{ended:?}") };
        let unchanged: prost_types::Struct = prost::Message::decode(unchanged.value.as_slice()).unwrap();
        assert_eq!(unchanged.fields["unchanged"], boolean(true));
        // The end of a run never changes.
        assert_eq!(stage.status(&answer.id).await.unwrap(), ended);
    }
}

#[tokio::test]
async fn an_answer_comes_before_the_deadline_of_the_call() {
    // The answer comes after three quarters of the time, which leaves a few seconds for a busy machine.
    let stage = Stage::new().await;
    stage.api.next("PATCH", Reply::Usual.behind(&Gate::closed()));
    let mut request = Request::new(waiting(60));
    request.set_timeout(Duration::from_secs(12));
    let answer = ActionServiceClient::new(stage.wire.channel()).invoke_action(request).await.unwrap();
    assert_eq!(answer.into_inner().status(), BatonActionStatus::Running);

    let stage = Stage::with(&["--provisioning", "--request-timeout-seconds", "12"]).await;
    stage.api.next("PATCH", Reply::Usual.behind(&Gate::closed()));
    assert_eq!(stage.invoke(&waiting(60)).await.unwrap().status(), BatonActionStatus::Running);
}

// The connection has to report the cancellation while this thread waits for the log.
#[tokio::test(flavor = "multi_thread")]
async fn an_action_continues_after_its_caller_cancels() {
    let stage = Stage::new().await;
    let gate = Gate::closed();
    stage.api.next("PATCH", Reply::Usual.behind(&gate));
    let request = waiting(60);
    tokio::select! {
        answer = stage.invoke(&request) => panic!("answered before Retool has: {answer:?}"),
        () = gate.reached() => {}
    }
    let cancelled = |line: &Value| line["grpc.method"] == "InvokeAction" && line["grpc.code"] == "Cancelled";
    stage.server.wait_for_log(cancelled);
    gate.open();
    eventually("the end of the action", async || (!stage.enabled(5).await).then_some(())).await;
    let record = stage.server.wait_for_log(|line| line["msg"] == "change");
    assert_eq!(record["outcome"], "changed");
}

#[tokio::test]
async fn ended_actions_keep_no_large_arguments() {
    const CALLS: u64 = 60;
    const ARGUMENT: usize = 900_000;
    let stage = Stage::new().await;
    let resource_type = "x".repeat(ARGUMENT);
    let ids = [("resource_type_id", string(&resource_type)), ("resource_id", string("u5"))];
    let request = action_on("disable_user", &ids);
    assert_failed(&stage.invoke(&request).await.unwrap(), &["InvalidArgument", "xxx"]);
    let Some(before) = stage.server.data_memory() else { return };
    for _ in 0..CALLS {
        stage.invoke(&request).await.unwrap();
    }
    // The allocator returns memory with a delay, and only while the program works.
    eventually("the release of the arguments", async || {
        let _ = stage.status("x").await;
        let kept = stage.server.data_memory().unwrap_or_default().saturating_sub(before);
        (kept < CALLS * ARGUMENT as u64 / 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_unknown_run_is_not_found() {
    let stage = Stage::new().await;
    for id in ["", "x", "2ABCdefGHIjklMNOpqrSTUvwxYZ"] {
        assert_refused(stage.status(id).await, Code::NotFound, &["does not exist", "1000"]);
    }
}

#[tokio::test]
async fn shutdown_waits_for_running_actions() {
    let stage = Stage::new().await;
    let gate = Gate::closed();
    stage.api.next("PATCH", Reply::Usual.behind(&gate));
    let answer = stage.act_without_waiting("disable_user", "u5").await;
    assert_eq!(answer.status(), BatonActionStatus::Running);
    stage.server.terminate();
    stage.server.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.starts_with("stopping;")));
    gate.open();
    let record = stage.server.wait_for_log(|line| line["msg"] == "change");
    assert_eq!(record["outcome"], "changed");
    assert!(!stage.enabled(5).await);
}

#[tokio::test]
async fn actions_are_aborted_when_the_grace_period_ends() {
    let stage = Stage::with(&["--provisioning", "--shutdown-grace-seconds", "1"]).await;
    let gate = Gate::closed();
    stage.api.next("PATCH", Reply::Usual.behind(&gate));
    let answer = stage.act_without_waiting("disable_user", "u5").await;
    assert_eq!(answer.status(), BatonActionStatus::Running);
    gate.reached().await;
    stage.server.terminate();
    let line = stage.server.wait_for_log(|line| line["actions"] == 1);
    assert!(line["msg"].as_str().unwrap().contains("grace period ended"), "{line}");
    let record = stage.server.wait_for_log(|line| line["msg"] == "change");
    assert_eq!((&record["outcome"], &record["reason"]), (&"unknown".into(), &"interrupted".into()));
}
