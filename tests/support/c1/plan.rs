//! What the stand-in does, beyond being well.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tonic::{Code, Status};

/// The calls of the API, and the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Method {
    Token,
    Hello,
    GetTask,
    GetTasks,
    Heartbeat,
    Upload,
    FinishTask,
}

/// What the stand-in does. The default is to be well, and to want to be asked again soon.
pub(crate) struct Plan {
    /// The failures of the next calls, in order; nothing is a call that goes well.
    pub(crate) failures: BTreeMap<Method, VecDeque<Option<Code>>>,
    /// The failure of every call, once those are used up.
    pub(crate) fails: BTreeMap<Method, Code>,
    /// What the token endpoint answers in place of a token, for so many requests.
    pub(crate) token_answers: VecDeque<(u16, String)>,
    /// How long a token lasts, in seconds; none for an answer without it.
    pub(crate) token_life: Option<i64>,
    pub(crate) token_type: String,
    /// Connections end as soon as they are there.
    pub(crate) away: bool,
    pub(crate) next_poll: Option<Duration>,
    /// Tasks are offered again and again until they are finished.
    pub(crate) insists: bool,
    pub(crate) next_heartbeat: Option<Duration>,
    /// From this heartbeat of a task on, its cancellation is the answer; the first is 1.
    pub(crate) cancels_at: Option<usize>,
    /// Uploads break off after so many pieces of data, once each.
    pub(crate) upload_ends: VecDeque<usize>,
    /// The next upload with so many pieces of data is taken for whole then.
    pub(crate) upload_is_enough_at: Option<usize>,
    /// Uploads are read up to so many pieces of data, and no further.
    pub(crate) holds_uploads_at: Option<usize>,
    /// How many reports are taken and not answered: their connections break.
    pub(crate) loses_reports: usize,
    /// The answer to a poll waits until all that was offered before it is finished, and is then long under way.
    pub(crate) answers_late: bool,
    /// How far the clock is ahead of this machine's, in seconds.
    pub(crate) clock_ahead_by: i64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            failures: BTreeMap::new(),
            fails: BTreeMap::new(),
            token_answers: VecDeque::new(),
            token_life: Some(3600),
            token_type: "bearer".to_owned(),
            away: false,
            next_poll: Some(Duration::from_millis(20)),
            insists: false,
            next_heartbeat: Some(Duration::from_secs(1)),
            cancels_at: None,
            upload_ends: VecDeque::new(),
            upload_is_enough_at: None,
            holds_uploads_at: None,
            loses_reports: 0,
            answers_late: false,
            clock_ahead_by: 0,
        }
    }
}

impl Plan {
    /// The next calls of a method fail with these codes.
    pub(crate) fn fail(&mut self, method: Method, codes: &[Code]) {
        self.failures.entry(method).or_default().extend(codes.iter().copied().map(Some));
    }

    /// Every further call of a method fails so; nothing ends that.
    pub(crate) fn always(&mut self, method: Method, code: Option<Code>) {
        match code {
            Some(code) => self.fails.insert(method, code),
            None => self.fails.remove(&method),
        };
    }

    /// The failure of this call.
    pub(super) fn failure(&mut self, method: Method) -> Option<Status> {
        let next = self.failures.get_mut(&method).and_then(VecDeque::pop_front);
        let code = next.unwrap_or_else(|| self.fails.get(&method).copied());
        code.map(|code| Status::new(code, SCRIPTED))
    }
}

/// The message of a failure that a test has asked for.
pub(super) const SCRIPTED: &str = "scripted failure";
