//! Signals: SIGTERM and Ctrl-C stop the program, SIGHUP reopens its log files.
//!
//! Every command that serves, syncs or makes changes handles all of them, because by default each would end
//! the process without finishing the work in progress. Other commands only read, and keep the defaults.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::telemetry::logs;

/// Whether the program has received two stop signals.
static STOP_AT_ONCE: AtomicBool = AtomicBool::new(false);

/// The signal that stopped a one-shot sync or change.
#[derive(Clone, Copy)]
pub(super) enum StoppedBy {
    Interrupt,
    Terminate,
}

impl StoppedBy {
    /// The signal with a name from [`StopSignals::next`].
    pub(super) fn named(name: &str) -> Self {
        if name == Self::Terminate.name() { Self::Terminate } else { Self::Interrupt }
    }

    /// The name of the signal.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
        }
    }

    /// 128 plus the number of the signal, as in shells (decision exit-codes).
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// The signals that stop the program, received after [`StopSignals::watch`].
pub(super) struct StopSignals(io::Result<(Signal, Signal)>);

impl StopSignals {
    pub(super) fn watch() -> Self {
        let pair = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        if let Err(error) = &pair {
            tracing::error!(%error, "cannot listen for SIGTERM and Ctrl-C");
        }
        Self(pair)
    }

    /// The name of the next signal.
    pub(super) async fn next(&mut self) -> &'static str {
        let Ok((terminate, interrupt)) = &mut self.0 else { return pending().await };
        tokio::select! {
            _ = terminate.recv() => StoppedBy::Terminate.name(),
            _ = interrupt.recv() => StoppedBy::Interrupt.name(),
        }
    }
}

/// Completes when the program receives a stop signal. Signals count from the call on, not only from the first
/// poll: a process may send a signal as soon as the program listens.
pub(super) fn stop_requested() -> impl Future<Output = ()> {
    let mut signals = StopSignals::watch();
    async move {
        let name = signals.next().await;
        tracing::info!("received {name}");
    }
}

/// Completes when the program receives a second stop signal, from a user who does not want to wait.
pub(super) fn stop_requested_twice() -> impl Future<Output = ()> {
    let mut signals = StopSignals::watch();
    // This runs in its own task, because two signals without a poll between them would count as one.
    let requested_twice = tokio::spawn(async move {
        signals.next().await;
        let name = signals.next().await;
        STOP_AT_ONCE.store(true, Ordering::Relaxed);
        tracing::info!("received {name} again");
    });
    async move {
        if requested_twice.await.is_err() {
            pending().await
        }
    }
}

/// Completes when the terminal of the program is closed (SIGHUP), for a command that a person runs in one. Never
/// completes if the program was started with SIGHUP ignored, as `nohup` does. SIGUSR1 and SIGUSR2 do nothing from the
/// call on.
pub(super) fn terminal_closed() -> impl Future<Output = ()> {
    ignore_user_signals();
    let hangup = if is_ignored(SignalKind::hangup()) { None } else { listen(SignalKind::hangup(), "SIGHUP") };
    async move {
        match hangup {
            Some(mut hangup) => {
                hangup.recv().await;
            }
            None => pending().await,
        }
    }
}

/// Whether the program ignores a signal. Only Linux shows this without `unsafe`; elsewhere the answer is no.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    // The lowest bit stands for signal 1.
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// Handles signals that by default would end the process without finishing the work in progress: SIGHUP
/// reopens the log files, for log rotation, and SIGUSR1 and SIGUSR2 do nothing.
pub(super) fn handle_other_signals() {
    ignore_user_signals();
    on_each(SignalKind::hangup(), "SIGHUP", logs::reopen);
}

fn ignore_user_signals() {
    on_each(SignalKind::user_defined1(), "SIGUSR1", || {});
    on_each(SignalKind::user_defined2(), "SIGUSR2", || {});
}

/// Calls `handle` for each of these signals, and logs it.
fn on_each(kind: SignalKind, name: &'static str, handle: fn()) {
    let Some(mut received) = listen(kind, name) else { return };
    tokio::spawn(async move {
        while received.recv().await.is_some() {
            handle();
            tracing::info!(signal = name, "received a signal");
        }
    });
}

fn listen(kind: SignalKind, name: &'static str) -> Option<Signal> {
    signal(kind)
        .inspect_err(|error| tracing::error!(%error, signal = name, "cannot listen for the signal"))
        .ok()
}

/// Whether [`stop_requested_twice`] has completed.
pub(super) fn is_to_stop_at_once() -> bool {
    STOP_AT_ONCE.load(Ordering::Relaxed)
}
