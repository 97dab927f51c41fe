//! The queue between log lines and their target: a bounded queue, and a thread that writes.
//!
//! If the queue is full, a line is dropped and counted. The writer logs the number of dropped lines as soon
//! as it makes progress. Audit records have additional space of their own.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
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
/// How often standard error reports that a target is not writable.
const COMPLAINT: Duration = Duration::from_secs(10);
/// The report about a target that is not writable.
const UNWRITABLE: &str =
    "the log cannot be written; changes are refused while their record cannot be written";

/// The queue of one target.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    /// Audit records that the target did not receive.
    lost_records: AtomicU64,
    /// Where to report errors of the target. Set when the writer starts.
    reports: OnceLock<Reports>,
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
    /// Whether the writer processes an item.
    busy: bool,
    /// Whether the target counts as not writable: its last write failed, or takes too long.
    unwritable: bool,
    /// The time of the last report that the target is not writable.
    complained: Option<Instant>,
}

/// Reports errors of a target on standard error.
struct Reports {
    /// The queue of standard error; `None` if it is the target itself, whose errors cannot be reported.
    complaints: Option<Queue>,
    format: LogFormat,
    /// The target as `--log-path` spells it.
    log_path: String,
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
        Self(Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            lost_records: AtomicU64::new(0),
            reports: OnceLock::new(),
        }))
    }

    /// Writes to `sink` from now on, until the process ends.
    fn spawn(&self, sink: Sink, complaints: Self, format: LogFormat) -> Result<(), Unwritable> {
        let target = sink.name();
        let complaints = Some(complaints).filter(|_| !sink.is_stderr());
        // A queue starts one writer only.
        self.0.reports.get_or_init(|| Reports { complaints, format, log_path: sink.name() });
        let writer = Writer { queue: self.clone(), sink, format, failed: 0 };
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

    /// Reports that the target takes too long to write a line. It counts as not writable until its next
    /// successful write.
    pub(super) fn stalled(&self) {
        let mut state = self.state();
        // The write may have ended in the meantime.
        if state.busy {
            self.unwritable(&mut state, &"it takes too long, its reader may have stalled");
        }
    }

    /// Reports that a write failed.
    fn failed(&self, error: &io::Error) {
        self.unwritable(&mut self.state(), error);
    }

    fn unwritable(&self, state: &mut State, error: &dyn Display) {
        if !std::mem::replace(&mut state.unwritable, true) {
            losses::target_failed();
        }
        if state.complained.is_none_or(|last| last.elapsed() > COMPLAINT) {
            state.complained = Some(Instant::now());
            self.complain(UNWRITABLE, error);
        }
    }

    /// Reports an error of the target on standard error.
    fn complain(&self, message: &str, error: &dyn Display) {
        let Some(Reports { complaints: Some(complaints), format, log_path }) = self.0.reports.get() else {
            return;
        };
        let fields = [("log_path", log_path.as_str().into()), ("error", error.to_string().into())];
        complaints.push(notice(*format, Level::ERROR, message, &fields).into(), false);
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
    /// longer counts as waiting. `wrote` is true if the last write succeeded.
    fn next(&self, wrote: bool) -> (Item, u64) {
        let mut state = self.state();
        state.busy = false;
        if wrote && std::mem::take(&mut state.unwritable) {
            state.complained = None;
            losses::target_recovered();
        }
        loop {
            if let Some(item) = state.items.pop_front() {
                match &item {
                    Item::Line { text, .. } => state.bytes -= text.len(),
                    Item::Then(_) => state.waiters -= 1,
                    Item::Reopen => {}
                }
                state.busy = true;
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
    format: LogFormat,
    /// Lines that could not be written since the last successful write.
    failed: u64,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (item, dropped) = self.queue.next(self.failed == 0);
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
                        self.queue.complain(message, &error);
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
                let message = "the log can be written again; these lines are lost";
                let said = notice(self.format, Level::WARN, message, &fields);
                // If this fails, the error is reported with the next line.
                let _ = self.sink.write(&said);
            }
            Err(error) => {
                self.failed += 1;
                losses::count(Loss::WriteFailed);
                self.queue.lose(audit);
                self.queue.failed(&error);
            }
        }
    }
}
