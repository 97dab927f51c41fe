//! The report of a task.

use baton_retool::proto::connectorapi::BatonServiceFinishTaskRequest;
use baton_retool::proto::connectorapi::baton_service_finish_task_request::FinalState;
use prost::{Message, Name};
use prost_types::Any;

/// The result of a task.
#[derive(Clone, Debug)]
pub(crate) enum Finished {
    Success(BatonServiceFinishTaskRequest),
    Error { code: i32, message: String, non_retryable: bool, annotations: usize },
}

impl Finished {
    /// The response of a successful task; panics for any other result.
    #[track_caller]
    pub(crate) fn response<M: Message + Name + Default>(&self) -> M {
        let Self::Success(request) = self else { panic!("{self:?}") };
        let Some(FinalState::Success(success)) = &request.final_state else { panic!("{request:?}") };
        let packed = success.response.as_ref().expect("no response");
        assert_eq!(packed.type_url, M::type_url());
        M::decode(packed.value.as_slice()).unwrap()
    }

    /// The annotations in the report of a successful task; panics for any other result.
    #[track_caller]
    pub(crate) fn annotations(&self) -> Vec<Any> {
        let Self::Success(request) = self else { panic!("{self:?}") };
        let Some(FinalState::Success(success)) = &request.final_state else { panic!("{request:?}") };
        success.annotations.clone()
    }

    /// Asserts that the task failed in this way.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, text: &str, non_retryable: bool) {
        let Self::Error { code: found, message, non_retryable: is_final, .. } = self else {
            panic!("{self:?}")
        };
        assert_eq!((*found, *is_final), (code, non_retryable), "{message}");
        let suffix = "\ntask failed and is non-retryable";
        assert_eq!(message.ends_with(suffix), non_retryable, "{message}");
        assert!(message.contains(text), "{message}");
    }
}
