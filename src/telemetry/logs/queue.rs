//! The queue between log lines and their target: a bounded queue, and a thread that writes.
//!
//! If the queue is full, a line is dropped and counted. The writer logs the number of dropped lines as soon
//! as it makes progress. Audit records have additional space of their own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::Level;

use crate::telemetry::logs::line::notice;
use crate::telemetry::logs::losses::{self, Loss};
use crate::telemetry::logs::sink::{Sink, Unwritable};
use crate::telemetry::settings::{LogFormat, LogTarget};

/// Most bytes of lines that wait for a target.
const ROOM: usize = 2 * 1024 * 1024;
/// Most additional bytes of audit records.
const RECORDS: usize = 2 * 1024 * 1024;
/// Most callers that wait until lines are written. More callers mean that the target has stalled for a long
/// time.
const WAITING: usize = 1024;
/// How often the writer reports that its target is not writable.
const COMPLAINT: Duration = Duration::from_secs(10);

/// The queue of one target.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    /// Audit records that the target did not receive.
    lost_records: AtomicU64,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// The bytes of all lines in `items`.
    bytes: usize,
    /// How many of `items` are [`Item::Then`].
    waiters: usize,
    /// Lines dropped since the writer last reported dropped lines.
    dropped: u64,
}

enum Item {
    Line {
        text: Arc<[u8]>,
        audit: bool,
    },
    /// Called when everything before it is written or lost.
    Then(Box<dyn FnOnce() + Send>),
    Reopen,
}

impl Queue {
    /// Creates a queue for each sink, and one for standard error if it is not among them, for error messages
    /// about the sinks.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn start(sinks: Vec<Sink>, format: LogFormat) -> Result<Vec<Self>, Unwritable> {
        let mut stderr = None;
        let mut started = Vec::new();
        for sink in sinks {
            let queue = Self::new();
            if sink.is_stderr() {
                stderr = Some(queue.clone());
            }
            started.push((queue, sink));
        }
        let complaints = match stderr {
            Some(queue) => queue,
            None => {
                let queue = Self::new();
                queue.spawn(Sink::open(&LogTarget::Stderr)?, queue.clone(), format)?;
                queue
            }
        };
        started
            .into_iter()
            .map(|(queue, sink)| queue.spawn(sink, complaints.clone(), format).map(|()| queue))
            .collect()
    }

    pub(super) fn new() -> Self {
        let shared =
            Shared { state: Mutex::default(), filled: Condvar::new(), lost_records: AtomicU64::new(0) };
        Self(Arc::new(shared))
    }

    /// Writes to `sink` from now on, until the process ends.
    fn spawn(&self, sink: Sink, complaints: Self, format: LogFormat) -> Result<(), Unwritable> {
        let target = sink.name();
        let writer = Writer { queue: self.clone(), sink, complaints, format, complained: None, failed: 0 };
        let thread = thread::Builder::new().name("log-writer".to_owned());
        thread.spawn(move || writer.run()).map(drop).map_err(|source| Unwritable { target, source })
    }

    /// Adds a line, or drops it if the queue is full.
    pub(super) fn push(&self, text: Arc<[u8]>, audit: bool) {
        let mut state = self.state();
        let room = if audit { ROOM + RECORDS } else { ROOM };
        if state.bytes + text.len() > room {
            state.dropped += 1;
            drop(state);
            losses::count(Loss::QueueFull);
            self.lose(audit);
            return;
        }
        state.bytes += text.len();
        self.add(state, Item::Line { text, audit });
    }

    /// Calls `done` when every line before it is written or lost. Drops `done` if too many callers wait
    /// already.
    pub(super) fn when_written(&self, done: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        if state.waiters < WAITING {
            state.waiters += 1;
            self.add(state, Item::Then(Box::new(done)));
        }
    }

    /// Opens the target again.
    pub(super) fn reopen(&self) {
        self.add(self.state(), Item::Reopen);
    }

    /// How many audit records are lost.
    pub(super) fn lost_records(&self) -> u64 {
        self.0.lost_records.load(Ordering::Acquire)
    }

    /// The bytes of waiting lines.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state().bytes
    }

    fn lose(&self, audit: bool) {
        if audit {
            self.0.lost_records.fetch_add(1, Ordering::Release);
        }
    }

    fn add(&self, mut state: MutexGuard<'_, State>, item: Item) {
        state.items.push_back(item);
        drop(state);
        self.0.filled.notify_one();
    }

    /// Waits for the next item, and returns it with the number of lines dropped before it. A returned line no
    /// longer counts as waiting.
    fn next(&self) -> (Item, u64) {
        let mut state = self.state();
        loop {
            if let Some(item) = state.items.pop_front() {
                match &item {
                    Item::Line { text, .. } => state.bytes -= text.len(),
                    Item::Then(_) => state.waiters -= 1,
                    Item::Reopen => {}
                }
                return (item, std::mem::take(&mut state.dropped));
            }
            state = self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    queue: Queue,
    sink: Sink,
    /// The queue of standard error, for errors that cannot be logged to the target.
    complaints: Queue,
    format: LogFormat,
    /// The time of the last report that the target is not writable.
    complained: Option<Instant>,
    /// Lines that could not be written since the last successful write.
    failed: u64,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (item, dropped) = self.queue.next();
            // This precedes any notice that everything is written.
            if dropped > 0 {
                let message = "lines of the log were dropped: the reader of --log-path is too slow";
                let fields = [("lines", dropped.into()), ("log_path", self.sink.name().into())];
                self.line(&notice(self.format, Level::WARN, message, &fields), false);
            }
            match item {
                Item::Line { text, audit } => self.line(&text, audit),
                Item::Then(done) => done(),
                Item::Reopen => {
                    if let Err(error) = self.sink.reopen() {
                        let message = "the log file could not be reopened; the previous one stays in use";
                        self.complain(Level::ERROR, message, &error.to_string());
                    }
                }
            }
        }
    }

    fn line(&mut self, text: &[u8], audit: bool) {
        match self.sink.write(text) {
            Ok(()) if self.failed == 0 => {}
            Ok(()) => {
                let fields = [("lines", self.failed.into()), ("log_path", self.sink.name().into())];
                self.failed = 0;
                self.complained = None;
                losses::target_recovered();
                let message = "the log can be written again; these lines are lost";
                let said = notice(self.format, Level::WARN, message, &fields);
                // If this fails, the error is reported with the next line.
                let _ = self.sink.write(&said);
            }
            Err(error) => {
                if self.failed == 0 {
                    losses::target_failed();
                }
                self.failed += 1;
                losses::count(Loss::WriteFailed);
                self.queue.lose(audit);
                if self.complained.is_none_or(|last| last.elapsed() > COMPLAINT) {
                    self.complained = Some(Instant::now());
                    let message =
                        "the log cannot be written; changes are refused while their record cannot be written";
                    self.complain(Level::ERROR, message, &error.to_string());
                }
            }
        }
    }

    /// Reports an error on standard error. An error of standard error itself cannot be reported.
    fn complain(&self, level: Level, message: &str, error: &str) {
        if !self.sink.is_stderr() {
            let fields = [("log_path", self.sink.name().into()), ("error", error.into())];
            self.complaints.push(notice(self.format, level, message, &fields).into(), false);
        }
    }
}
