//! Limits the log lines that a caller can cause with every event.

use std::sync::LazyLock;

use crate::repeats::{Repeats, Verdict};

/// Lambda does not report who sent an event, so all callers have one limit.
static LINES: LazyLock<Repeats> = LazyLock::new(|| Repeats::new(10));

/// Whether to log the next line of this kind.
pub(super) fn judge(kind: &'static str) -> Verdict {
    LINES.judge(kind, None)
}
