//! A quarter of an hour's worth of tasks in a minute, with faults throughout: each task runs and is reported
//! once, and memory does not grow.

use std::time::Duration;

use baton_retool::proto::connectorapi::task::{GrantTask, HelloTask, RevokeTask, SyncFullTask, TaskType};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tonic::Code;

use super::{Stage, small};
use crate::support::c1::{C1, Finished, Method};
use crate::support::changes::{entitlement_of, principal_of};

/// Equal to one task each second.
const TASKS: usize = 900;
/// The number of tasks that are given, disturbed and awaited at a time.
const BURST: usize = 150;

/// A sync does not start while ConductorOne is unavailable; ConductorOne offers it again later.
fn task(random: &mut StdRng, number: usize, with_syncs: bool) -> TaskType {
    match number % 60 {
        0 if with_syncs => TaskType::SyncFull(SyncFullTask::default()),
        1..20 => TaskType::Grant(GrantTask {
            entitlement: Some(entitlement_of("group:g5:member")),
            principal: Some(principal_of(&format!("user/u{}", random.random_range(1..40)))),
            ..Default::default()
        }),
        20..25 => TaskType::Revoke(RevokeTask::default()),
        _ => small(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_of_an_hour_of_tasks_and_faults_loses_no_task() {
    let c1 = C1::start().await;
    c1.plan(|plan| {
        plan.next_poll = Some(Duration::from_millis(2));
        plan.insists = true;
        // Valid for two seconds: a token with less than ten seconds left is not used.
        plan.token_life = Some(12);
    });
    let flags = ["--provisioning", "--task-concurrency", "20", "--log-level", "info"];
    let stage = Stage::planned(&flags, c1).await;
    let mut random = StdRng::seed_from_u64(12);
    let (mut memory, mut given) = (Vec::new(), Vec::new());
    for burst in 0..TASKS / BURST {
        stage.c1.plan(|plan| {
            let codes = [None, None, None, None, Some(Code::Unavailable), Some(Code::Internal)];
            let finish = plan.failures.entry(Method::FinishTask).or_default();
            finish.extend((0..BURST / 4).map(|_| codes[random.random_range(0..codes.len())]));
            plan.fail(Method::GetTask, &[Code::ResourceExhausted]);
            plan.fail(Method::Heartbeat, &[Code::Unavailable]);
            plan.upload_ends.push_back(0);
            plan.token_answers.extend([(500, String::new())]);
        });
        let outage = burst % 3 == 1;
        let ids: Vec<String> =
            (0..BURST).map(|number| stage.c1.give(task(&mut random, number, !outage))).collect();
        if outage {
            stage.c1.called(Method::GetTask, 1).await;
            stage.c1.go_away();
            // The duration of the outage; no check depends on it.
            tokio::time::sleep(Duration::from_millis(300)).await;
            stage.c1.plan(|plan| plan.away = false);
        }
        for id in &ids {
            if let Finished::Error { code, message, .. } = stage.c1.finished(id).await {
                // Tasks that lack a required field, and changes that Retool does not allow.
                assert!(matches!(code, 2 | 9), "{id}: {code} {message}");
            }
            assert_eq!(stage.c1.reports(id), 1);
        }
        given.extend(ids);
        stage.c1.give(TaskType::Hello(HelloTask::default()));
        memory.extend(stage.server.memory());
    }
    if let [_, _, early, .., last] = memory[..] {
        assert!(last < early + 32 * 1024 * 1024, "{memory:?}");
    }
    assert!(stage.c1.left_over().is_empty(), "{:?}", stage.c1.left_over());
    let logs = stage.server.logs();
    let begun = logs.iter().filter(|line| line["msg"] == "task started");
    let mut begun: Vec<&str> = begun.filter_map(|line| line["task_id"].as_str()).collect();
    begun.retain(|id| given.iter().any(|known| known == id));
    begun.sort_unstable();
    given.sort_unstable();
    assert_eq!(begun, given, "a task ran twice, or not at all");
}
