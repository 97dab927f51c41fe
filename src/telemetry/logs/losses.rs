//! What the log has lost, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::repeats;

/// Why a line is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The queue of its target was full.
    QueueFull,
    /// Its target could not be written to.
    WriteFailed,
    /// Many lines like it came before it in a short time.
    Repeated,
}

impl Loss {
    pub(crate) const ALL: [Self; 3] = [Self::QueueFull, Self::WriteFailed, Self::Repeated];

    /// The name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WriteFailed => "write_failed",
            Self::Repeated => "repeated",
        }
    }
}

static LINES: [AtomicU64; Loss::ALL.len()] = [const { AtomicU64::new(0) }; Loss::ALL.len()];
/// How many targets could not be written to when they were last tried.
static UNWRITABLE: AtomicU64 = AtomicU64::new(0);

/// One more line is lost.
pub(super) fn count(loss: Loss) {
    LINES[loss as usize].fetch_add(1, Ordering::Relaxed);
}

/// How many lines are lost for this reason.
pub(crate) fn lines(loss: Loss) -> u64 {
    if loss == Loss::Repeated {
        return repeats::left_out();
    }
    LINES[loss as usize].load(Ordering::Relaxed)
}

/// How many targets cannot be written to.
pub(crate) fn unwritable_targets() -> u64 {
    UNWRITABLE.load(Ordering::Relaxed)
}

/// A target that could be written to cannot be any more.
pub(super) fn target_failed() {
    UNWRITABLE.fetch_add(1, Ordering::Relaxed);
}

/// A target that could not be written to can be again.
pub(super) fn target_recovered() {
    UNWRITABLE.fetch_sub(1, Ordering::Relaxed);
}
