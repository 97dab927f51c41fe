//! The end of a task, before it is reported.

use crate::agent::service::heartbeat::Heartbeats;
use crate::agent::service::outcome::Outcome;

/// The result of a task, and the heartbeats that continue until ConductorOne knows it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) until_reported: Option<Heartbeats>,
}

impl<T: Into<Outcome>> From<T> for Ended {
    fn from(outcome: T) -> Self {
        Self { outcome: outcome.into(), until_reported: None }
    }
}
