//! Limits log lines that a peer can cause without a limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines left out since the program started.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// How many lines were left out since the program started.
pub(crate) fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Admits a limited number of lines per kind and peer within [`Repeats::WINDOW`], and counts the others.
#[derive(Debug)]
pub(crate) struct Repeats {
    most: u32,
    seen: Mutex<HashMap<Key, Window>>,
}

/// A kind of line, and the peer that causes it: `None` for a unix socket.
type Key = (&'static str, Option<IpAddr>);

#[derive(Debug)]
struct Window {
    began: Instant,
    logged: u32,
    left_out: u64,
}

/// Whether to log a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Log the line.
    Log {
        /// How many similar lines were left out before it; `None` if there are none, so that the line has no
        /// such field.
        left_out: Option<NonZeroU64>,
    },
    /// Leave out the line.
    LeaveOut,
}

impl Repeats {
    /// How long lines of a kind and a peer are counted together.
    pub(crate) const WINDOW: Duration = Duration::from_secs(10);
    /// How many kinds and peers are counted separately. Beyond this number, all peers count as one.
    const KEYS: usize = 1024;

    /// Admits `most` lines of a kind and a peer within the window.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, seen: Mutex::default() }
    }

    /// Whether to log the next line of this kind and peer.
    pub(crate) fn judge(&self, kind: &'static str, peer: Option<IpAddr>) -> Verdict {
        self.judge_at(Instant::now(), kind, peer)
    }

    fn judge_at(&self, now: Instant, kind: &'static str, peer: Option<IpAddr>) -> Verdict {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (kind, peer.map(|address| address.to_canonical()));
        if !seen.contains_key(&key) && seen.len() >= Self::KEYS {
            seen.retain(|_, window| now.duration_since(window.began) < Self::WINDOW);
            if seen.len() >= Self::KEYS {
                key.1 = None;
            }
        }
        let window = seen.entry(key).or_insert(Window { began: now, logged: 0, left_out: 0 });
        if now.duration_since(window.began) >= Self::WINDOW {
            (window.began, window.logged) = (now, 0);
        }
        if window.logged >= self.most {
            window.left_out += 1;
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
            return Verdict::LeaveOut;
        }
        window.logged += 1;
        Verdict::Log { left_out: NonZeroU64::new(std::mem::take(&mut window.left_out)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn limits_lines_per_kind_and_peer() {
        let repeats = Repeats::new(2);
        let now = Instant::now();
        let (one, other) = (Some("10.0.0.1".parse().unwrap()), Some("10.0.0.2".parse().unwrap()));
        let log = |left_out| Verdict::Log { left_out: NonZeroU64::new(left_out) };
        let verdicts: Vec<_> = (0..5).map(|_| repeats.judge_at(now, "a", one)).collect();
        assert_eq!(verdicts, [log(0), log(0), Verdict::LeaveOut, Verdict::LeaveOut, Verdict::LeaveOut]);
        assert_eq!(repeats.judge_at(now, "b", one), log(0));
        assert_eq!(repeats.judge_at(now, "a", other), log(0));
        let later = now + Repeats::WINDOW;
        assert_eq!((repeats.judge_at(later, "a", one), repeats.judge_at(later, "a", one)), (log(3), log(0)));
    }

    #[test]
    fn many_peers_are_counted_in_bounded_memory() {
        let repeats = Repeats::new(1);
        let now = Instant::now();
        for number in 0..10_000_u32 {
            repeats.judge_at(now, "a", Some(std::net::Ipv4Addr::from(number).into()));
        }
        assert!(repeats.seen.lock().unwrap().len() <= Repeats::KEYS + 1);
        assert_eq!(repeats.judge_at(now, "a", Some("10.9.9.9".parse().unwrap())), Verdict::LeaveOut);
    }
}
