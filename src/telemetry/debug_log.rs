//! A temporary second log: every event of the program from debug level up, as JSON, in a requested file. At
//! other times it is off and costs nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use crate::telemetry::logs::{self, Lines};
use crate::telemetry::settings::{LogFormat, LogLevel};

/// Largest file, in bytes; further lines are left out.
const LARGEST: u64 = 16 * 1024 * 1024;

static SINK: Mutex<Sink> = Mutex::new(Sink { file: None, left: 0, writers: 0 });
/// Turns the log on and off; empty if telemetry has not started.
static SWITCH: OnceLock<Box<dyn Fn(bool) + Send + Sync>> = OnceLock::new();

/// The target of the lines.
struct Sink {
    file: Option<File>,
    /// How many bytes may still be written to the file.
    left: u64,
    /// How many [`Writing`] guards exist.
    writers: usize,
}

/// Keeps the log on until dropped.
#[derive(Debug)]
pub(crate) struct Writing {
    /// The device and the number of the file that was created for it.
    file: (u64, u64),
}

impl Writing {
    /// Whether the file with this device and number was created for this log.
    pub(crate) fn is_to(&self, device: u64, number: u64) -> bool {
        self.file == (device, number)
    }
}

/// Writes the log to this file from now on, and replaces its content. With several writers, the newest file
/// is used.
///
/// # Errors
/// The error of the operating system.
pub(crate) fn write_to(path: &Path) -> io::Result<Writing> {
    let file = open(path)?;
    let created = file.metadata()?;
    let mut sink = sink();
    *sink = Sink { file: Some(file), left: LARGEST, writers: sink.writers + 1 };
    drop(sink);
    switch(true);
    Ok(Writing { file: (created.dev(), created.ino()) })
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut sink = sink();
        sink.writers = sink.writers.saturating_sub(1);
        if sink.writers == 0 {
            sink.file = None;
            drop(sink);
            switch(false);
        }
    }
}

/// The layer that writes the log. The first one in the process is switchable.
pub(super) fn layer<S>() -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (filter, handle) = reload::Layer::new(Targets::new());
    let on = logs::filter(LogLevel::Debug);
    // Another call may have been first; its switch stays in use.
    let _ = SWITCH.set(Box::new(move |is_on| {
        // This fails only when the subscriber has been dropped, and with it the log.
        let _ = handle.reload(if is_on { on.clone() } else { Targets::new() });
    }));
    tracing_subscriber::fmt::layer()
        .with_writer(ToSink)
        .event_format(Lines { format: LogFormat::Json })
        .with_filter(filter)
}

/// Creates the file for its owner only. A file or link of another user with this name is neither followed nor
/// overwritten.
fn open(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn switch(on: bool) {
    if let Some(switch) = SWITCH.get() {
        switch(on);
    }
}

fn sink() -> MutexGuard<'static, Sink> {
    SINK.lock().unwrap_or_else(PoisonError::into_inner)
}

struct ToSink;

impl<'a> MakeWriter<'a> for ToSink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for ToSink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut sink = sink();
        let fits = line.len() as u64 <= sink.left;
        if !fits {
            sink.file = None;
        }
        if let Some(file) = &mut sink.file {
            file.write_all(line)?;
            sink.left -= line.len() as u64;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
