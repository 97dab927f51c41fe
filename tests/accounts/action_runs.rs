//! The life of an action's run: waited for, asked for, awaited when the program ends (spec 4.8).

use std::time::{Duration, Instant};

use baton_retool::proto::connector::action_service_client::ActionServiceClient;
use baton_retool::proto::connector::{BatonActionStatus, InvokeActionRequest};
use tonic::{Code, Request};

use crate::support::retool_api::Reply;
use crate::support::stage::{SHORT, Stage, action, assert_complete};
use crate::support::wire::{assert_refused, eventually};

fn waiting(seconds: i64) -> InvokeActionRequest {
    let inline_wait = Some(prost_types::Duration { seconds, nanos: 0 });
    InvokeActionRequest { inline_wait, ..action("disable_user", "u5") }
}

#[tokio::test]
async fn d34_the_answer_waits_as_long_as_asked() {
    let stage = Stage::new().await;
    stage.api.next("PATCH", Reply::Usual.late(Duration::from_millis(1500)));
    assert_complete(&stage.invoke(&waiting(30)).await.unwrap());

    for unsaid in [None, Some(prost_types::Duration::default())] {
        stage.api.next("PATCH", Reply::Usual.late(Duration::from_millis(2500)));
        let begun = Instant::now();
        let request = InvokeActionRequest { inline_wait: unsaid, ..action("disable_user", "u5") };
        let answer = stage.invoke(&request).await.unwrap();
        assert_eq!(answer.status(), BatonActionStatus::Running);
        assert!((900..2400).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        assert_eq!((answer.response, answer.name.as_str()), (None, "disable_user"));

        let running = stage.status(&answer.id).await.unwrap();
        assert_eq!((running.status(), &running.response), (BatonActionStatus::Running, &None));
        let ended = eventually("the end of the action", async || {
            let state = stage.status(&answer.id).await.unwrap();
            (state.status() != BatonActionStatus::Running).then_some(state)
        })
        .await;
        assert_eq!(ended.status(), BatonActionStatus::Complete, "{ended:?}");
        assert_eq!((ended.id.as_str(), ended.name.as_str()), (answer.id.as_str(), "disable_user"));
        assert_eq!(ended.annotations.len(), 1);
        // It stays so.
        assert_eq!(stage.status(&answer.id).await.unwrap(), ended);
    }
}

#[tokio::test]
async fn d34_an_answer_comes_before_the_call_has_run_out_of_time() {
    let stage = Stage::new().await;
    stage.api.next("PATCH", Reply::Usual.late(Duration::from_secs(7)));
    let mut request = Request::new(waiting(60));
    request.set_timeout(Duration::from_secs(4));
    let answer = ActionServiceClient::new(stage.wire.channel()).invoke_action(request).await.unwrap();
    assert_eq!(answer.into_inner().status(), BatonActionStatus::Running);

    let stage = Stage::with(&["--provisioning", "--request-timeout-seconds", "4"]).await;
    stage.api.next("PATCH", Reply::Usual.late(Duration::from_secs(7)));
    assert_eq!(stage.invoke(&waiting(60)).await.unwrap().status(), BatonActionStatus::Running);
}

#[tokio::test]
async fn an_action_goes_on_when_its_caller_is_gone() {
    let stage = Stage::new().await;
    stage.api.next("PATCH", Reply::Usual.late(SHORT));
    let request = waiting(60);
    let gone = tokio::time::timeout(Duration::from_millis(50), stage.invoke(&request)).await;
    assert!(gone.is_err());
    eventually("the end of the action", async || (!stage.enabled(5).await).then_some(())).await;
    let record = stage.server.wait_for_log(|line| line["msg"] == "change");
    assert_eq!(record["outcome"], "changed");
}

#[tokio::test]
async fn a_run_that_there_is_not_is_not_found() {
    let stage = Stage::new().await;
    for id in ["", "x", "2ABCdefGHIjklMNOpqrSTUvwxYZ"] {
        assert_refused(stage.status(id).await, Code::NotFound, &["no run", "1000"]);
    }
}

#[tokio::test]
async fn a_program_that_is_told_to_stop_finishes_what_it_has_begun() {
    let stage = Stage::new().await;
    stage.api.next("PATCH", Reply::Usual.late(Duration::from_secs(2)));
    let answer = stage.act_without_waiting("disable_user", "u5").await;
    assert_eq!(answer.status(), BatonActionStatus::Running);
    stage.server.terminate();
    let record = stage.server.wait_for_log(|line| line["msg"] == "change");
    assert_eq!(record["outcome"], "changed");
    assert!(!stage.enabled(5).await);
}

#[tokio::test]
async fn a_grace_period_ends_for_actions_too() {
    let stage = Stage::with(&["--provisioning", "--shutdown-grace-seconds", "1"]).await;
    stage.api.next("PATCH", Reply::Usual.late(Duration::from_secs(8)));
    let answer = stage.act_without_waiting("disable_user", "u5").await;
    assert_eq!(answer.status(), BatonActionStatus::Running);
    let told = Instant::now();
    stage.server.terminate();
    let line = stage.server.wait_for_log(|line| line["actions"] == 1);
    assert!(line["msg"].as_str().unwrap().contains("grace period ended"), "{line}");
    let record = stage.server.wait_for_log(|line| line["msg"] == "change");
    assert_eq!((&record["outcome"], &record["reason"]), (&"failed".into(), &"broken_off".into()));
    assert!(told.elapsed() < Duration::from_secs(6), "{:?}", told.elapsed());
}
