//! Lost log lines, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::repeats;

/// The reason why a line is missing in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The queue of its target was full.
    QueueFull,
    /// The target was not writable.
    WriteFailed,
    /// Too many similar lines were logged in a short time.
    Repeated,
}

impl Loss {
    pub(crate) const ALL: [Self; 3] = [Self::QueueFull, Self::WriteFailed, Self::Repeated];

    /// The label value in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WriteFailed => "write_failed",
            Self::Repeated => "repeated",
        }
    }
}

static LINES: [AtomicU64; Loss::ALL.len()] = [const { AtomicU64::new(0) }; Loss::ALL.len()];
/// How many targets were not writable at the last attempt.
static UNWRITABLE: AtomicU64 = AtomicU64::new(0);

/// Counts a lost line.
pub(super) fn count(loss: Loss) {
    LINES[loss as usize].fetch_add(1, Ordering::Relaxed);
}

/// How many lines were lost for this reason.
pub(crate) fn lines(loss: Loss) -> u64 {
    if loss == Loss::Repeated {
        return repeats::left_out();
    }
    LINES[loss as usize].load(Ordering::Relaxed)
}

/// How many targets are not writable.
pub(crate) fn unwritable_targets() -> u64 {
    UNWRITABLE.load(Ordering::Relaxed)
}

/// Records that a writable target is no longer writable.
pub(super) fn target_failed() {
    UNWRITABLE.fetch_add(1, Ordering::Relaxed);
}

/// Records that a target is writable again.
pub(super) fn target_recovered() {
    UNWRITABLE.fetch_sub(1, Ordering::Relaxed);
}
