//! Logs, one line per event, in the two formats of the Go connector.

#[cfg(feature = "lambda")]
mod level;
mod line;
pub(super) mod losses;
mod queue;
mod sink;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::registry::LookupSpan;

use crate::telemetry::logs::queue::Queue;
use crate::telemetry::logs::sink::Sink;
#[cfg(feature = "lambda")]
use crate::telemetry::settings::LogFormat;
use crate::telemetry::settings::{LogLevel, LogSettings, LogTarget};

pub(crate) use line::{AUDIT, Lines, notice};
pub(crate) use sink::Unwritable;
#[cfg(feature = "lambda")]
pub(crate) use {level::set_level, line::add_fields};

/// The queues of the targets, once logging has started.
static QUEUES: OnceLock<Arc<[Queue]>> = OnceLock::new();
/// The settings with which logging has started.
static IN_FORCE: OnceLock<LogSettings> = OnceLock::new();

/// How long a change waits until its audit record is written.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// How long the program waits at exit until its last lines are written.
const FLUSH: Duration = Duration::from_secs(2);

/// Writes the events that [`filter`] admits to the targets of `settings`; `None` if there are no targets.
/// Each target has a bounded queue and a thread that writes, so that a slow reader or a full disk delays only
/// log lines.
///
/// # Errors
/// A file cannot be opened for writing.
pub(super) fn lines<S>(settings: &LogSettings) -> Result<Option<impl Layer<S> + use<S>>, Unwritable>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if settings.paths.is_empty() {
        return Ok(None);
    }
    let sinks = settings.paths.iter().map(Sink::open).collect::<Result<Vec<_>, _>>()?;
    let queues = Queue::start(sinks, settings.format)?;
    // Another start may have been first; its targets stay.
    let queues = QUEUES.get_or_init(|| queues.into());
    #[cfg(feature = "lambda")]
    let filtered = level::changeable(settings.level, filter);
    #[cfg(not(feature = "lambda"))]
    let filtered = filter(settings.level);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(Writers(Arc::clone(queues)))
        .event_format(Lines { format: settings.format })
        .with_filter(filtered);
    Ok(Some(layer))
}

/// Remembers the settings. Call it after logging has started.
pub(crate) fn started(settings: &LogSettings) {
    // The settings of the first start stay.
    let _ = IN_FORCE.set(settings.clone());
}

/// The settings with which logging has started; `None` before the start.
pub(crate) fn in_force() -> Option<&'static LogSettings> {
    IN_FORCE.get()
}

/// A line about a failure, in the format of the log, for use before logging has started.
#[cfg(feature = "lambda")]
pub(crate) fn error_line(message: &str) -> Vec<u8> {
    line::notice(LogFormat::Json, tracing::Level::ERROR, message, &[])
}

/// Adds each line to every queue.
struct Writers(Arc<[Queue]>);

/// Takes one line, which the layer above writes in one piece.
struct LineWriter<'a> {
    queues: &'a [Queue],
    audit: bool,
}

impl<'a> MakeWriter<'a> for Writers {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { queues: &self.0, audit: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter { queues: &self.0, audit: event.target() == AUDIT }
    }
}

impl io::Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shared: Arc<[u8]> = line.into();
        for queue in self.queues {
            queue.push(Arc::clone(&shared), self.audit);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An audit record of a change cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record of changes cannot be written, so no change is made: check the disk and the reader of every --log-path, then retry"
)]
pub(crate) struct Unrecorded;

/// Calls `log` and returns when every target has written the line.
///
/// # Errors
/// [`Unrecorded`] if a target has not written the line: its disk is full, or its reader has stalled.
pub(crate) async fn recorded(log: impl FnOnce()) -> Result<(), Unrecorded> {
    let Some(queues) = QUEUES.get() else {
        log();
        return Ok(());
    };
    let before: Vec<u64> = queues.iter().map(Queue::lost_records).collect();
    log();
    let due = tokio::time::Instant::now() + MAX_WAIT;
    let written: Vec<_> = queues
        .iter()
        .map(|queue| {
            let (done, written) = oneshot::channel();
            // The receiver was dropped after a timeout.
            queue.when_written(move || {
                let _ = done.send(());
            });
            written
        })
        .collect();
    let mut in_time = true;
    for (queue, written) in queues.iter().zip(written) {
        if !matches!(timeout_at(due, written).await, Ok(Ok(()))) {
            queue.stalled();
            in_time = false;
        }
    }
    let same = in_time && queues.iter().zip(before).all(|(queue, before)| queue.lost_records() == before);
    if same { Ok(()) } else { Err(Unrecorded) }
}

/// Opens the log files again: after a log rotation, these names may refer to other files.
pub(crate) fn reopen() {
    QUEUES.get().into_iter().flat_map(|queues| queues.iter()).for_each(Queue::reopen);
}

/// Returns when all lines so far are written, or after two seconds. Call it before the process exits.
pub(crate) fn flush() {
    let due = Instant::now() + FLUSH;
    for queue in QUEUES.get().into_iter().flat_map(|queues| queues.iter()) {
        let (done, written) = mpsc::channel();
        queue.when_written(move || {
            let _ = done.send(());
        });
        // After a timeout, or without the thread, the remaining lines are lost.
        let _ = written.recv_timeout(due.saturating_duration_since(Instant::now()));
    }
}

/// Selects the events that are logged and sent as logs: events of this program from this level up, and those
/// of libraries from warnings up. Events of the telemetry library about batches that it cannot send are left
/// out, because this program reports them once; see [`export`](crate::telemetry::export) and
/// [`drops`](crate::telemetry::drops).
pub(super) fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("opentelemetry", LevelFilter::OFF)
        // h2 warns about the behavior of callers, without a limit.
        .with_target("h2", level.min(LevelFilter::ERROR))
        .with_target(env!("CARGO_CRATE_NAME"), level)
        // Audit records do not depend on the level.
        .with_target(AUDIT, LevelFilter::INFO)
}

/// Checks whether the files of `settings` are writable, as far as possible without creating them.
///
/// # Errors
/// The first file that is not writable.
pub(crate) fn check(settings: &LogSettings) -> Result<(), Unwritable> {
    for target in &settings.paths {
        let LogTarget::File(path) = target else { continue };
        let looked = match OpenOptions::new().append(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                std::fs::read_dir(directory.unwrap_or(Path::new("."))).map(drop)
            }
            opened => opened.map(drop),
        };
        looked.map_err(|source| Unwritable { target: sink::name(target), source })?;
    }
    Ok(())
}
