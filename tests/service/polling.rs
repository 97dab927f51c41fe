//! Polling ConductorOne for tasks.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use baton_retool::proto::connectorapi::Task;
use baton_retool::proto::connectorapi::task::{
    HelloTask, ListEventsTask, ListTicketSchemasTask, NoneTask, SyncFullTask, TaskType,
};
use tokio::task::JoinSet;
use tonic::Code;

use super::{NOWHERE, small};
use crate::support::c1::{C1, Call, Method};
use crate::support::server::Server;

fn waits(calls: &[Call]) -> Vec<f64> {
    calls.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect()
}

/// The program with one of the two ways of polling, and the method that it then calls.
fn polling(c1: &C1, batch: bool) -> (Command, Method) {
    let mut command = c1.program(NOWHERE);
    command.env("BATON_GET_TASKS", if batch { "true" } else { "false" });
    (command, if batch { Method::GetTasks } else { Method::GetTask })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_after_errors_grows() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.fail(Method::GetTask, &[Code::Unavailable, Code::PermissionDenied]));
    let server = c1.serve(NOWHERE, &[]);
    let waits = waits(&c1.called(Method::GetTask, 10).await);
    assert!(waits[0] >= 0.9 && waits[1] >= 3.9, "{waits:?}");
    // A busy machine can delay some of the polls.
    assert!(waits[2..].iter().any(|wait| *wait < 0.9), "{waits:?}");
    server.wait_for_log(|line| line["msg"] == "polling ConductorOne works again" && line["err_count"] == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_a_second_if_no_poll_interval_is_given() {
    for batch in [false, true] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.next_poll = None);
        let (command, method) = polling(&c1, batch);
        let _server = Server::run(command);
        let waits = waits(&c1.called(method, 3).await);
        assert!(waits.iter().all(|wait| *wait >= 0.9), "{waits:?}");
    }
}

/// Offers the same task with every poll, without a poll interval. No task of these kinds is ever reported.
async fn offers_again(task: TaskType, batch: bool) {
    let shown = format!("{task:?}, batch: {batch}");
    let c1 = C1::start().await;
    c1.plan(|plan| (plan.insists, plan.next_poll, plan.cancels_at) = (true, None, Some(1)));
    let id = c1.give(task);
    let (command, method) = polling(&c1, batch);
    let server = Server::run(command);
    let polls = c1.called(method, 5).await;
    // The second poll follows the first one at once, because the first offer was new.
    let took = (polls[4].at - polls[1].at).as_secs_f64();
    assert!(took >= 2.7, "{shown}: {took} s for four polls");
    let begun = |line: &serde_json::Value| line["msg"] == "task started" && line["task_id"] == *id;
    let starts = AtomicUsize::new(0);
    let is_second = |line: &serde_json::Value| begun(line) && starts.fetch_add(1, Ordering::Relaxed) == 1;
    tokio::task::block_in_place(|| server.wait_for_log(is_second));
    let begun = server.logs().iter().filter(|line| begun(line)).count();
    let polls = c1.called(method, 5).await.len();
    assert!(begun <= polls, "{shown}: started {begun} times after {polls} polls");
    assert_eq!(c1.reports(&id), 0, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_never_reported_causes_no_busy_loop() {
    let mut all = JoinSet::new();
    for batch in [false, true] {
        all.spawn(offers_again(TaskType::ListEvents(ListEventsTask::default()), batch));
        all.spawn(offers_again(TaskType::ListTicketSchemas(ListTicketSchemasTask::default()), batch));
        all.spawn(offers_again(TaskType::Hello(HelloTask::default()), batch));
        all.spawn(offers_again(TaskType::SyncFull(SyncFullTask::default()), batch));
    }
    all.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_an_id_causes_no_busy_loop() {
    for batch in [false, true] {
        let c1 = C1::start().await;
        c1.plan(|plan| (plan.insists, plan.next_poll) = (true, None));
        c1.give_as(|_| Task { task_type: Some(small()), ..Default::default() });
        let (command, method) = polling(&c1, batch);
        let _server = Server::run(command);
        let waits = waits(&c1.called(method, 3).await);
        assert!(waits.iter().all(|wait| *wait >= 0.9), "batch {batch}: {waits:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requested_wait_applies_after_a_task() {
    for batch in [false, true] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.next_poll = Some(Duration::from_millis(1500)));
        let ids = [c1.give(small()), c1.give(small())];
        let (command, method) = polling(&c1, batch);
        let _server = Server::run(command);
        let waits = waits(&c1.called(method, 3).await);
        assert!(waits.iter().all(|wait| *wait >= 1.4), "batch {batch}: {waits:?}");
        // The first poll returned a task.
        c1.finished(&ids[0]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_the_running_tasks_as_known() {
    let c1 = C1::start().await;
    // Tasks cannot end.
    c1.plan(|plan| plan.always(Method::FinishTask, Some(Code::Unavailable)));
    let ids = [c1.give(small()), c1.give(small())];
    let (command, method) = polling(&c1, true);
    let _server = Server::run(command);
    let polls = c1.called(method, 2).await;
    let (asked, known) = polls[1].asked.clone().unwrap();
    assert_eq!((asked, BTreeSet::from_iter(known)), (4, BTreeSet::from(ids.clone())));
    c1.plan(|plan| plan.always(Method::FinishTask, None));
    for id in &ids {
        c1.finished(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_no_more_tasks_than_there_are_slots() {
    let c1 = C1::start().await;
    // Tasks cannot end, so their slots stay occupied.
    c1.plan(|plan| plan.always(Method::FinishTask, Some(Code::Unavailable)));
    let ids: Vec<String> = (0..5).map(|_| c1.give(small())).collect();
    let server = c1.serve(NOWHERE, &["--task-concurrency", "2"]);
    c1.called(Method::FinishTask, 4).await;
    assert_eq!(c1.called(Method::GetTask, 2).await.len(), 2);
    c1.plan(|plan| plan.always(Method::FinishTask, None));
    for id in &ids {
        c1.finished(id).await;
    }
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_offered_again_runs_once() {
    for batch in [false, true] {
        let c1 = C1::start().await;
        c1.plan(|plan| {
            plan.insists = true;
            plan.fail(Method::FinishTask, &[Code::Unavailable]);
        });
        let id = c1.give(small());
        let mut command = c1.program(NOWHERE);
        command.env("BATON_GET_TASKS", if batch { "1" } else { "no" });
        let server = Server::run(command);
        c1.finished(&id).await;
        let begun = |line: &serde_json::Value| line["msg"] == "task started" && line["task_id"] == *id;
        assert_eq!(server.logs().iter().filter(|line| begun(line)).count(), 1);
        assert_eq!(c1.reports(&id), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skips_an_offer_older_than_the_end_of_its_task() {
    let c1 = C1::start().await;
    c1.plan(|plan| {
        (plan.insists, plan.answers_late, plan.next_poll) = (true, true, None);
        // Ensures a poll before the task ends.
        plan.fail(Method::FinishTask, &[Code::Unavailable]);
    });
    let id = c1.give(small());
    let server = c1.serve(NOWHERE, &[]);
    server.wait_for_log(|line| {
        line["task_id"] == *id && line["msg"].as_str().is_some_and(|text| text.ends_with("or has just ended"))
    });
    let begun = |line: &serde_json::Value| line["msg"] == "task started" && line["task_id"] == *id;
    assert_eq!(server.logs().iter().filter(|line| begun(line)).count(), 1);
    c1.plan(|plan| (plan.insists, plan.answers_late) = (false, false));
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_of_a_response_runs_before_the_next_response_arrives() {
    let c1 = C1::start().await;
    c1.plan(|plan| (plan.answers_late, plan.next_poll) = (true, None));
    let ids = [c1.give(small()), c1.give(small())];
    let mut command = c1.program(NOWHERE);
    command.env("BATON_GET_TASKS", "1");
    let _server = Server::run(command);
    // Both tasks came with one response, and the next response waits for both.
    for id in &ids {
        c1.finished(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_several_tasks_at_a_time() {
    let c1 = C1::start().await;
    let ids: Vec<String> = (0..20).map(|_| c1.give(small())).collect();
    let none = c1.give(TaskType::None(NoneTask::default()));
    let mut command = c1.program(NOWHERE);
    command.env("BATON_GET_TASKS", "T");
    let _server = Server::run(command);
    for id in &ids {
        c1.finished(id).await;
    }
    let polls = c1.called(Method::GetTasks, 2).await;
    let (asked, known) = polls[0].asked.clone().unwrap();
    assert_eq!((asked, known), (6, Vec::new()));
    for poll in &polls {
        let (asked, known) = poll.asked.clone().unwrap();
        assert_eq!(asked as usize + known.len(), 6);
    }
    assert_eq!(c1.reports(&none), 0);
    assert!(!c1.calls().iter().any(|call| call.method == Method::GetTask));
}

#[tokio::test(flavor = "multi_thread")]
async fn skips_tasks_without_a_kind_or_an_id() {
    let c1 = C1::start().await;
    let none = c1.give(TaskType::None(NoneTask::default()));
    c1.give_as(|_| Task { task_type: Some(small()), ..Default::default() });
    let last = c1.give(small());
    let server = c1.serve(NOWHERE, &["--task-concurrency", "1"]);
    c1.finished(&last).await;
    assert_eq!(c1.reports(&none), 0);
    server.wait_for_log(|line| {
        line["msg"].as_str().is_some_and(|text| text.starts_with("ignoring a task without an id"))
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_tasks_leak_no_memory_files_or_connections() {
    // `make soak` sets a larger number.
    let tasks = std::env::var("RETOOL_TEST_TASKS").map_or(2_000, |tasks| tasks.parse().unwrap());
    let c1 = C1::start().await;
    c1.plan(|plan| plan.next_poll = None);
    let server = c1.serve(NOWHERE, &["--task-concurrency", "20", "--log-level", "warn"]);
    let give = |count: usize| (0..count).map(|_| c1.give(small())).collect::<Vec<_>>();
    for id in give(tasks / 10) {
        c1.finished(&id).await;
    }
    let before = server.memory();
    let rest = give(tasks - tasks / 10);
    for id in &rest {
        c1.finished(id).await;
    }
    let last = rest.last().unwrap();
    assert_eq!(c1.reports(last), 1);
    if let (Some(before), Some(after)) = (before, server.memory()) {
        assert!(after < before + 24 * 1024 * 1024, "{before} -> {after}");
    }
    assert_eq!(c1.connections(), 1);
    assert!(c1.left_over().is_empty(), "{:?}", c1.left_over());
}
