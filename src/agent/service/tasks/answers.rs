//! Converts the response to a call into the result of its task.

use tonic::{Response, Status};

use crate::agent::service::outcome::{Failure, Outcome};

/// The response to a call, or a final failure of the task.
pub(super) fn or_permanent<T>(answer: Result<Response<T>, Status>) -> Result<T, Failure> {
    answer.map(Response::into_inner).map_err(|status| Failure::of_call(&status).permanent())
}

/// The response to a call, or a failure after which ConductorOne may retry the task.
pub(super) fn or_again<T>(answer: Result<Response<T>, Status>) -> Result<T, Failure> {
    answer.map(Response::into_inner).map_err(|status| Failure::of_status(&status))
}

/// A final failure of a task that lacks a required field.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::plain(format!("malformed {what} task")).permanent()
}

/// The result of a task that a failure may have ended early.
pub(super) fn ended(result: Result<Outcome, Failure>) -> Outcome {
    result.unwrap_or_else(Outcome::Failed)
}
