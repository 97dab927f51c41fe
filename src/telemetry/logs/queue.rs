//! The way from a line to its target: a bounded queue, and a thread that writes.
//!
//! A line that finds the queue full is dropped and counted, and the writer says how many were as soon as it gets
//! on. Records of changes have room of their own beyond that.

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

/// How many bytes of lines may wait for a target.
const ROOM: usize = 2 * 1024 * 1024;
/// How many bytes records of changes may have beyond that.
const RECORDS: usize = 2 * 1024 * 1024;
/// How many may wait until something is written. Beyond that the target has stalled for long.
const WAITING: usize = 1024;
/// How often the writer says that its target cannot be written to.
const COMPLAINT: Duration = Duration::from_secs(10);

/// The queue of one target.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    /// Records of changes that are not in the target.
    lost_records: AtomicU64,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// Of all lines in `items`.
    bytes: usize,
    /// How many of `items` are [`Item::Then`].
    waiters: usize,
    /// Lines that found no room since the writer last said so.
    dropped: u64,
}

enum Item {
    Line {
        text: Arc<[u8]>,
        audit: bool,
    },
    /// Done when everything before it is written or lost.
    Then(Box<dyn FnOnce() + Send>),
    Reopen,
}

impl Queue {
    /// A queue for each sink, and one for standard error that takes complaints where that is none of them.
    ///
    /// # Errors
    /// When there can be no thread for it.
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
        let path = sink.name().into();
        let writer = Writer { queue: self.clone(), sink, complaints, format, complained: None, failed: 0 };
        let thread = thread::Builder::new().name("log-writer".to_owned());
        thread.spawn(move || writer.run()).map(drop).map_err(|source| Unwritable { path, source })
    }

    /// Adds a line, or drops it where there is no room.
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

    /// Calls `done` when every line before it is written or lost; drops it where too many wait already.
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

    /// How many records of changes are lost.
    pub(super) fn lost_records(&self) -> u64 {
        self.0.lost_records.load(Ordering::Acquire)
    }

    /// How many bytes of lines wait.
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

    /// The next item, and how many lines were dropped before it. A line counts as waiting no longer.
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
    /// The queue of standard error, for what cannot be said in the target itself.
    complaints: Queue,
    format: LogFormat,
    /// When it last said that the target cannot be written to.
    complained: Option<Instant>,
    /// Lines that could not be written since the target last took one.
    failed: u64,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (item, dropped) = self.queue.next();
            // Before anybody learns that everything is written.
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
                        let message = "the log file could not be opened again; the former one stays in use";
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
                // Where that fails, the next line says so.
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

    /// Says it on standard error. There is nowhere else to say that standard error cannot be written.
    fn complain(&self, level: Level, message: &str, error: &str) {
        if !self.sink.is_stderr() {
            let fields = [("log_path", self.sink.name().into()), ("error", error.into())];
            self.complaints.push(notice(self.format, level, message, &fields).into(), false);
        }
    }
}
