//! Converts errors of the connector to gRPC statuses. No other place does this.

use prost::Message;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::connector::error::{Error, ErrorKind};
use crate::proto::log_text::logged_as;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, message, for_log) = (code(error.kind()), error.for_caller(), error.to_string());
        let Some(detail) = error.detail() else { return logged_as(Self::new(code, message), for_log) };
        // Agents wait for the time in this detail. Without it, they use their own backoff.
        let details = pb::Status { code: code.into(), message: message.clone(), details: vec![detail] };
        logged_as(Self::with_details(code, message, details.encode_to_vec().into()), for_log)
    }
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Unimplemented => Code::Unimplemented,
        ErrorKind::Internal => Code::Internal,
        ErrorKind::Unknown => Code::Unknown,
    }
}
