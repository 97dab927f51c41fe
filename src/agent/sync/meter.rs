//! How far a sync has come, for those who watch it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::agent::sync::state::Operation;
use crate::agent::sync::usage::Usage;

/// How far a sync has come. Shared with those who watch it; reading it costs nothing worth mentioning.
#[derive(Debug, Default)]
pub struct Meter {
    phase: Mutex<Option<Running>>,
    resources: AtomicU64,
    entitlements: AtomicU64,
    grants: AtomicU64,
    done: AtomicU64,
    expected: AtomicU64,
    finished: Mutex<Vec<Phase>>,
}

/// A phase that is over, and what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// What was done.
    pub operation: Operation,
    /// How long it took.
    pub elapsed: Duration,
    /// How much processor time the process spent meanwhile, in all its threads.
    pub cpu: Duration,
    /// The most memory that the process has had resident until the end of the phase, in bytes. Nothing where the
    /// system does not tell.
    pub peak_memory: Option<u64>,
}

/// The phase that a sync is in.
#[derive(Debug, Clone, Copy)]
struct Running {
    operation: Operation,
    since: Instant,
    /// The processor time of the process when the phase began.
    cpu: Duration,
}

/// A look at a [`Meter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What is done now; nothing before the first phase.
    pub phase: Option<Operation>,
    /// How long the phase has taken.
    pub elapsed: Duration,
    /// How much of the phase is done: listings, or entitlements in the expansion.
    pub done: u64,
    /// How much the phase has to do, as far as it is known by now.
    pub expected: u64,
    /// Resources read so far.
    pub resources: u64,
    /// Entitlements read so far.
    pub entitlements: u64,
    /// Grants read so far.
    pub grants: u64,
}

impl Meter {
    /// How far the sync has come.
    pub fn read(&self) -> Reading {
        let running = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Reading {
            phase: running.map(|running| running.operation),
            elapsed: running.map_or(Duration::ZERO, |running| running.since.elapsed()),
            done: count(&self.done),
            expected: count(&self.expected).max(count(&self.done)),
            resources: count(&self.resources),
            entitlements: count(&self.entitlements),
            grants: count(&self.grants),
        }
    }

    /// The phases that are over, in the order in which they began.
    pub fn phases(&self) -> Vec<Phase> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another phase has begun; nothing when the sync is over.
    pub(crate) fn enter(&self, operation: Option<Operation>) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if phase.map(|running| running.operation) == operation {
            return;
        }
        let usage = Usage::now();
        let next = operation.map(|operation| Running { operation, since: Instant::now(), cpu: usage.cpu });
        if let Some(before) = std::mem::replace(&mut *phase, next) {
            let took = before.since.elapsed();
            let cpu = usage.cpu.saturating_sub(before.cpu);
            let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
            match finished.iter_mut().find(|phase| phase.operation == before.operation) {
                Some(phase) => {
                    phase.elapsed += took;
                    phase.cpu += cpu;
                    phase.peak_memory = usage.peak_memory;
                }
                None => finished.push(Phase {
                    operation: before.operation,
                    elapsed: took,
                    cpu,
                    peak_memory: usage.peak_memory,
                }),
            }
            let reading = (self.done.swap(0, Ordering::Relaxed), self.expected.swap(0, Ordering::Relaxed));
            tracing::info!(
                phase = before.operation.name(),
                done = reading.0,
                seconds = took.as_secs_f64(),
                "phase done"
            );
        }
    }

    /// So much more is to do in this phase.
    pub(crate) fn expect(&self, more: u64) {
        self.expected.fetch_add(more, Ordering::Relaxed);
    }

    /// One more is done in this phase.
    pub(crate) fn did_one(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// So much of so much is done in this phase.
    pub(crate) fn did(&self, done: u64, expected: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.expected.store(expected, Ordering::Relaxed);
    }

    /// So many resources were read.
    pub(crate) fn resources(&self, more: usize) {
        self.resources.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// So many entitlements were read.
    pub(crate) fn entitlements(&self, more: usize) {
        self.entitlements.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// So many grants were read.
    pub(crate) fn grants(&self, more: usize) {
        self.grants.fetch_add(more as u64, Ordering::Relaxed);
    }
}
