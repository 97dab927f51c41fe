//! How long a call that starts an action waits for its end.

use std::time::Duration;

/// How long an answer waits for the end of the action if the request does not specify it.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
/// Longest wait for the end of the action.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// The most time of the call that is reserved for the answer.
const DEADLINE_MARGIN: Duration = Duration::from_secs(3);

/// How long the answer to a call that starts an action waits for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActionWait {
    /// As long as the request specifies. The action continues after the answer.
    AsRequested,
    /// As long as the call allows: the process is frozen after the answer, and the action with it.
    #[cfg(feature = "lambda")]
    UntilDeadline,
}

impl ActionWait {
    /// The wait in a call that has this much time. The answer that the action is still running must be sent
    /// before its deadline.
    pub(super) fn of(self, asked: Option<&prost_types::Duration>, time: Duration) -> Duration {
        let asked = asked.and_then(|asked| Duration::try_from(*asked).ok());
        let wait = match self {
            Self::AsRequested => asked.filter(|asked| !asked.is_zero()).unwrap_or(DEFAULT_WAIT),
            #[cfg(feature = "lambda")]
            Self::UntilDeadline => LONGEST_WAIT,
        };
        wait.min(LONGEST_WAIT).min(time.saturating_sub(DEADLINE_MARGIN.min(time / 4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_an_action_ends_before_the_deadline_of_the_call() {
        let seconds = Duration::from_secs;
        let asked = |seconds| prost_types::Duration { seconds, nanos: 0 };
        for (given, deadline, wait) in [
            (None, seconds(300), seconds(1)),
            (Some(asked(0)), seconds(300), seconds(1)),
            (Some(asked(20)), seconds(300), seconds(20)),
            (Some(asked(400)), seconds(300), seconds(297)),
            (Some(asked(7200)), seconds(10_000), seconds(3600)),
            (Some(asked(20)), seconds(2), Duration::from_millis(1500)),
            (None, seconds(1), Duration::from_millis(750)),
        ] {
            let found = ActionWait::AsRequested.of(given.as_ref(), deadline);
            assert_eq!(found, wait, "{given:?} {deadline:?}");
        }
        #[cfg(feature = "lambda")]
        assert_eq!(ActionWait::UntilDeadline.of(Some(&asked(1)), seconds(30)), seconds(27));
    }
}
