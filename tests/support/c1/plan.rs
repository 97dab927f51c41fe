//! The behavior of the double, beyond normal operation.

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

/// The TLS behavior of the port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Normal: TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2.
    #[default]
    Usual,
    /// At most TLS 1.2.
    Only12,
    /// At most TLS 1.1.
    Only11,
    /// ALPN selects no protocol.
    WithoutAlpn,
    /// Only HTTP/1.1 is offered; clients that require HTTP/2 are refused.
    OnlyHttp1,
    /// The certificate is from an untrusted certificate authority.
    Untrusted,
}

/// The behavior of the double. By default it works normally and requests the next poll soon.
pub(crate) struct Plan {
    /// The failures of the next calls, in order; `None` is a successful call.
    pub(crate) failures: BTreeMap<Method, VecDeque<Option<Code>>>,
    /// The failure of every call after those.
    pub(crate) fails: BTreeMap<Method, Code>,
    /// The message of these failures.
    pub(crate) failure_message: &'static str,
    /// Answers of the token endpoint instead of a token, for the next requests.
    pub(crate) token_answers: VecDeque<(u16, String)>,
    /// The lifetime of a token in seconds; `None` leaves it out of the answer.
    pub(crate) token_life: Option<i64>,
    pub(crate) token_type: String,
    /// Whether token requests get no answer.
    pub(crate) holds_tokens: bool,
    /// Whether connections are closed as soon as they are opened.
    pub(crate) away: bool,
    pub(crate) tls: Tls,
    /// The host id that every request must contain.
    pub(crate) host: String,
    pub(crate) next_poll: Option<Duration>,
    /// Whether tasks are offered repeatedly until they are finished.
    pub(crate) insists: bool,
    pub(crate) next_heartbeat: Option<Duration>,
    /// From this heartbeat of a task on, the answer is its cancellation; the first heartbeat is 1.
    pub(crate) cancels_at: Option<usize>,
    /// Uploads fail after these numbers of data pieces, once each.
    pub(crate) upload_ends: VecDeque<usize>,
    /// The next upload is treated as complete after this number of data pieces.
    pub(crate) upload_is_enough_at: Option<usize>,
    /// Uploads are read up to this number of data pieces, and no further.
    pub(crate) holds_uploads_at: Option<usize>,
    /// How many reports are accepted but not answered: their connections break.
    pub(crate) loses_reports: usize,
    /// How many reports are accepted but answered as unavailable, like by a proxy that has lost the answer.
    pub(crate) hides_reports: usize,
    /// Whether failures have details that are not valid.
    pub(crate) malforms_failures: bool,
    /// Whether the answer to a poll waits until all tasks offered before it are finished, and is then
    /// delayed.
    pub(crate) answers_late: bool,
    /// Whether polls for one task get no answer.
    pub(crate) holds_polls: bool,
    /// How many seconds the clock is ahead of this machine's clock.
    pub(crate) clock_ahead_by: i64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            failures: BTreeMap::new(),
            fails: BTreeMap::new(),
            failure_message: SCRIPTED,
            token_answers: VecDeque::new(),
            token_life: Some(3600),
            token_type: "bearer".to_owned(),
            holds_tokens: false,
            away: false,
            tls: Tls::Usual,
            host: "test-host".to_owned(),
            next_poll: Some(Duration::from_millis(20)),
            insists: false,
            next_heartbeat: Some(Duration::from_secs(1)),
            cancels_at: None,
            upload_ends: VecDeque::new(),
            upload_is_enough_at: None,
            holds_uploads_at: None,
            loses_reports: 0,
            hides_reports: 0,
            malforms_failures: false,
            answers_late: false,
            holds_polls: false,
            clock_ahead_by: 0,
        }
    }
}

impl Plan {
    /// Makes the next calls of a method fail with these codes.
    pub(crate) fn fail(&mut self, method: Method, codes: &[Code]) {
        self.failures.entry(method).or_default().extend(codes.iter().copied().map(Some));
    }

    /// Makes all further calls of a method fail with this code, without an end.
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
        code.map(|code| Status::new(code, self.failure_message))
    }
}

/// The message of a failure that a test has requested.
pub(super) const SCRIPTED: &str = "scripted failure";
