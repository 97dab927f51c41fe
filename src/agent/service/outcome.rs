//! The result of a task, and its report to ConductorOne.

use prost::{Message, Name};
use prost_types::Any;
use tonic::{Code, Status};

use crate::proto::any;
use crate::proto::connectorapi::BatonServiceFinishTaskRequest;
use crate::proto::connectorapi::baton_service_finish_task_request::{Error, FinalState, Success};

/// The suffix that ConductorOne's own programs add to the message of a final failure. ConductorOne also reads
/// the message.
const FINAL: &str = "\ntask failed and is non-retryable";
/// Maximum number of annotations in a report.
const MAX_ANNOTATIONS: usize = 16;
/// Maximum length of a message, in bytes.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// The result of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The task succeeded.
    Done {
        /// The connector's response, if ConductorOne needs it.
        response: Option<Any>,
        /// Annotations for the report.
        annotations: Vec<Any>,
    },
    /// The task failed.
    Failed(Failure),
    /// The task succeeded, and ConductorOne already knows.
    Known,
    /// The result is not reported, for this reason. ConductorOne may offer the task again.
    Unreported(String),
}

/// The failure of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    details: Vec<Any>,
    is_final: bool,
    annotations: Vec<Any>,
}

impl Outcome {
    /// A task that failed because the connector rejected a call, and whose result is not reported.
    pub(super) fn unreported(status: &Status) -> Self {
        // Its message may repeat user input, and the connector logs it in a separate line.
        Self::Unreported(format!("the connector answered {:?}", status.code()))
    }

    /// A success without a response.
    pub(super) fn done() -> Self {
        Self::Done { response: None, annotations: Vec::new() }
    }

    /// A success with a response.
    pub(super) fn answered<M: Name>(response: &M, annotations: Vec<Any>) -> Self {
        Self::Done { response: Some(any(response)), annotations }
    }

    /// The report; `None` if the result is not reported.
    pub(super) fn report(self, host_id: String, task_id: &str) -> Option<BatonServiceFinishTaskRequest> {
        let (status, state) = match self {
            Self::Done { response, annotations } => {
                (None, FinalState::Success(Success { annotations: few(annotations), response }))
            }
            Self::Failed(failure) => {
                let status = tonic_types::pb::Status {
                    code: failure.code.into(),
                    message: failure.message,
                    details: failure.details,
                };
                let annotations = few(failure.annotations);
                let error = Error { non_retryable: failure.is_final, annotations, response: None };
                (Some(status), FinalState::Error(error))
            }
            Self::Known | Self::Unreported(_) => return None,
        };
        Some(BatonServiceFinishTaskRequest {
            host_id,
            task_id: task_id.to_owned(),
            status,
            final_state: Some(state),
        })
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Failure {
    /// A failure of the task itself, not of a call.
    pub(super) fn plain(message: impl Into<String>) -> Self {
        Self::of(Code::Unknown, message.into(), Vec::new())
    }

    /// The task was stopped.
    pub(super) fn cancelled() -> Self {
        Self::of(Code::Cancelled, "context canceled".to_owned(), Vec::new())
    }

    /// The connector's status, unchanged.
    pub(super) fn of_status(status: &Status) -> Self {
        Self::of(status.code(), status.message().to_owned(), details(status))
    }

    /// A failed call inside a larger task: its status, with the text of Go programs.
    pub(super) fn of_call(status: &Status) -> Self {
        Self::of(status.code(), in_go(status), details(status))
    }

    /// Makes the failure final: ConductorOne does not retry the task.
    #[must_use]
    pub(super) fn permanent(mut self) -> Self {
        if !self.is_final {
            self.message.push_str(FINAL);
            self.is_final = true;
        }
        self
    }

    /// Sets the annotations.
    #[must_use]
    pub(super) fn with(self, annotations: Vec<Any>) -> Self {
        Self { annotations, ..self }
    }

    /// The gRPC code.
    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// Whether the failure is final, so that ConductorOne does not retry the task.
    pub(super) fn is_final(&self) -> bool {
        self.is_final
    }

    fn of(code: Code, mut message: String, details: Vec<Any>) -> Self {
        if message.len() > LONGEST_MESSAGE {
            message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        }
        Self { code, message, details, is_final: false, annotations: Vec::new() }
    }
}

/// The text of a status in Go.
fn in_go(status: &Status) -> String {
    let code = match status.code() {
        Code::Cancelled => "Canceled".to_owned(),
        Code::Ok => "OK".to_owned(),
        other => format!("{other:?}"),
    };
    format!("rpc error: code = {code} desc = {}", status.message())
}

fn details(status: &Status) -> Vec<Any> {
    tonic_types::pb::Status::decode(status.details()).map(|status| status.details).unwrap_or_default()
}

fn few(mut annotations: Vec<Any>) -> Vec<Any> {
    annotations.truncate(MAX_ANNOTATIONS);
    annotations
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn failed(failure: Failure) -> (i32, String, bool) {
        let report = Outcome::from(failure).report("h".to_owned(), "t").unwrap();
        let status = report.status.unwrap();
        let Some(FinalState::Error(error)) = report.final_state else { unreachable!() };
        assert_eq!(error.response, None);
        (status.code, status.message, error.non_retryable)
    }

    #[test]
    fn a_final_failure_is_marked_in_the_message_and_the_report() {
        let status = Status::failed_precondition("provisioning is not enabled");
        let text = "rpc error: code = FailedPrecondition desc = provisioning is not enabled";
        assert_eq!(failed(Failure::of_call(&status)), (9, text.to_owned(), false));
        let once = Failure::of_call(&status).permanent();
        assert_eq!(once.clone().permanent(), once);
        assert_eq!(failed(once), (9, format!("{text}\ntask failed and is non-retryable"), true));
        assert_eq!(failed(Failure::of_status(&status)), (9, "provisioning is not enabled".to_owned(), false));
        assert_eq!(failed(Failure::cancelled()), (1, "context canceled".to_owned(), false));
        assert_eq!(in_go(&Status::cancelled("x")), "rpc error: code = Canceled desc = x");
    }

    #[test]
    fn keeps_details_and_limits_annotations() {
        let detail = Any { type_url: "t".to_owned(), value: vec![1] };
        let inner =
            tonic_types::pb::Status { code: 5, message: String::new(), details: vec![detail.clone()] };
        let status = Status::with_details(Code::NotFound, "gone", inner.encode_to_vec().into());
        let failure = Failure::of_status(&status).with(vec![detail.clone(); 20]);
        let report = Outcome::from(failure).report("h".to_owned(), "t").unwrap();
        assert_eq!(report.status.unwrap().details, [detail]);
        let Some(FinalState::Error(error)) = report.final_state else { unreachable!() };
        assert_eq!(error.annotations.len(), 16);
    }

    #[test]
    fn truncates_a_long_message() {
        let (_, message, _) = failed(Failure::plain("ä".repeat(LONGEST_MESSAGE)));
        assert!(message.len() <= LONGEST_MESSAGE);
    }

    #[test]
    fn unreported_outcomes_have_no_report() {
        let silent = [Outcome::Known, Outcome::unreported(&Status::internal("x"))];
        assert!(silent.into_iter().all(|outcome| outcome.report(String::new(), "t").is_none()));
        let done = Outcome::done().report("h".to_owned(), "t").unwrap();
        assert_eq!(done.status, None);
    }
}
