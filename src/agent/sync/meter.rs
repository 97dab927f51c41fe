//! The progress of a sync, for observers.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::agent::sync::state::Operation;
use crate::agent::sync::usage::Usage;
use crate::numbers::log_seconds;

/// The progress of a sync, shared with its observers. Reading it is cheap.
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

/// A finished phase and the resources that it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// The operation of the phase.
    pub operation: Operation,
    /// How long it took.
    pub elapsed: Duration,
    /// The processor time that all threads of the process spent during the phase.
    pub cpu: Duration,
    /// The peak resident memory of the process up to the end of the phase, in bytes. `None` if the system
    /// does not report it.
    pub peak_memory: Option<u64>,
}

/// The current phase of a sync.
#[derive(Debug, Clone, Copy)]
struct Running {
    operation: Operation,
    since: Instant,
    /// The processor time of the process when the phase began.
    cpu: Duration,
}

/// A snapshot of a [`Meter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The current operation; `None` before the first phase and after the last.
    pub phase: Option<Operation>,
    /// How long the phase has run.
    pub elapsed: Duration,
    /// How much of the phase is done: listings, or entitlements during expansion.
    pub done: u64,
    /// How much work the phase has, as far as it is known.
    pub expected: u64,
    /// Resources read so far.
    pub resources: u64,
    /// Entitlements read so far.
    pub entitlements: u64,
    /// Grants read so far.
    pub grants: u64,
}

impl Meter {
    /// Returns the current progress.
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

    /// The finished phases, in the order in which they began.
    pub fn phases(&self) -> Vec<Phase> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the start of a phase; `None` records the end of the sync.
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
                seconds = log_seconds(took),
                "phase done"
            );
        }
    }

    /// Adds to the expected work of this phase.
    pub(crate) fn expect(&self, more: u64) {
        self.expected.fetch_add(more, Ordering::Relaxed);
    }

    /// Counts one more unit of work as done in this phase.
    pub(crate) fn did_one(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the done and the expected work of this phase.
    pub(crate) fn did(&self, done: u64, expected: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.expected.store(expected, Ordering::Relaxed);
    }

    /// Counts resources that were read.
    pub(crate) fn resources(&self, more: usize) {
        self.resources.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Counts entitlements that were read.
    pub(crate) fn entitlements(&self, more: usize) {
        self.entitlements.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Counts grants that were read.
    pub(crate) fn grants(&self, more: usize) {
        self.grants.fetch_add(more as u64, Ordering::Relaxed);
    }
}
