//! Compares random sequences of grants, revokes, listings and changes by Retool with a model of the rules
//! ([`crate::support::model`]): every response, every listing, and the tables.
//!
//! A failure shows the shortest sequence that still fails. `PROPTEST_CASES=500` runs more sequences.

mod bench;
mod steps;

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::support::model::Rules;
use bench::Bench;

const RULES: Rules = Rules { skip_disabled_users: false, managed_groups: true };

/// Runs this number of cases, or the number in `PROPTEST_CASES`, on one server.
fn holds<T: Debug>(
    cases: u32,
    bench: impl Future<Output = Bench>,
    strategy: &impl Strategy<Value = Vec<T>>,
    run: impl AsyncFn(&Bench, &[T]) -> Result<(), String>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bench = runtime.block_on(bench);
    let given = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 1000, ..given };
    let ran = TestRunner::new(config)
        .run(strategy, |steps| runtime.block_on(run(&bench, &steps)).map_err(TestCaseError::fail));
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(problem, steps)) => {
            let steps: Vec<String> = steps.iter().map(|step| format!("\n  {step:?}")).collect();
            panic!("{problem}\nwith{}", steps.concat())
        }
        Err(aborted) => panic!("{aborted}"),
    }
}

#[test]
fn changes_agree_with_the_model() {
    let steps = prop::collection::vec(steps::step(), 1..=80);
    holds(10, Bench::new(&[], RULES), &steps, async |bench, steps| bench.happens(steps).await);
}

#[test]
fn changes_with_disabled_users_skipped_agree_with_the_model() {
    let steps = prop::collection::vec(steps::step(), 1..=80);
    let rules = Rules { skip_disabled_users: true, ..RULES };
    let bench = Bench::new(&["--skip-disabled-users"], rules);
    holds(4, bench, &steps, async |bench, steps| bench.happens(steps).await);
}

#[test]
fn changes_without_managed_groups_agree_with_the_model() {
    let steps = prop::collection::vec(steps::step(), 1..=80);
    let rules = Rules { managed_groups: false, ..RULES };
    let bench = Bench::new(&["--managed-groups=false"], rules);
    holds(4, bench, &steps, async |bench, steps| bench.happens(steps).await);
}

#[test]
fn a_dry_run_agrees_with_the_model_and_changes_nothing() {
    let steps = prop::collection::vec(steps::step(), 1..=80);
    let bench = Bench::new(&["--dry-run"], RULES);
    holds(4, bench, &steps, async |bench, steps| bench.happens(steps).await);
}

/// Whether two calls overlap depends on timing, so the sequence shown for a failure need not be the shortest.
#[test]
fn concurrent_callers_have_the_effect_of_sequential_ones() {
    let races = prop::collection::vec(steps::race(), 1..=60);
    holds(10, Bench::new(&[], RULES), &races, async |bench, races| bench.races(races).await);
}
