//! What the answer to a call means for its task.

use tonic::{Response, Status};

use crate::agent::service::outcome::{Failure, Outcome};

/// What a call answered, or the failure that ends the task for good.
pub(super) fn or_for_good<T>(answer: Result<Response<T>, Status>) -> Result<T, Failure> {
    answer.map(Response::into_inner).map_err(|status| Failure::of_call(&status).for_good())
}

/// What a call answered, or the failure after which ConductorOne may try again.
pub(super) fn or_again<T>(answer: Result<Response<T>, Status>) -> Result<T, Failure> {
    answer.map(Response::into_inner).map_err(|status| Failure::of_status(&status))
}

/// A task that lacks what it is about.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::plain(format!("malformed {what} task")).for_good()
}

/// The end of a task that a failure may have ended early.
pub(super) fn ended(result: Result<Outcome, Failure>) -> Outcome {
    result.unwrap_or_else(Outcome::Failed)
}
