//! Introduces the program to ConductorOne: at startup until it succeeds, and whenever a task requests it.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;

use crate::agent::service::api::{Api, ApiError};
use crate::agent::service::error::ServiceError;
use crate::agent::service::machine;
use crate::agent::service::version::{LANGUAGE, PACKAGE, PROGRAM};
use crate::numbers::log_seconds;
use crate::proto::connector::connector_service_client::ConnectorServiceClient;
use crate::proto::connector::{ConnectorMetadata, ConnectorServiceGetMetadataRequest};
use crate::proto::connectorapi::BatonServiceHelloRequest;
use crate::proto::connectorapi::baton_service_hello_request::BuildInfo;

/// The first and the longest wait after a failed introduction.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));

/// Introduces the program until ConductorOne accepts it, or the program must stop.
///
/// # Errors
/// ConductorOne rejects the program, and a retry does not help.
pub(super) async fn at_the_start(
    api: &Api,
    metadata: ConnectorMetadata,
    stop: &CancellationToken,
) -> Result<(), ServiceError> {
    let request = request(api, "", metadata);
    let mut wait = WAIT.0;
    loop {
        let answered = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            answered = api.hello(request.clone()) => answered,
        };
        let error = match answered {
            Ok(()) => return Ok(()),
            Err(error) if is_final(&error) => return Err(ServiceError::Refused(error)),
            Err(error) => error,
        };
        tracing::warn!(
            %error,
            next_backoff = log_seconds(wait),
            "startup Hello failed, retrying"
        );
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = sleep(wait) => wait = longer(wait),
        }
    }
}

/// The wait after one more failure.
fn longer(wait: Duration) -> Duration {
    (wait * 2).min(WAIT.1)
}

/// The connector's metadata.
pub(super) async fn metadata(connector: &Channel) -> Result<ConnectorMetadata, Box<tonic::Status>> {
    let mut client = ConnectorServiceClient::new(connector.clone());
    let answer = client.get_metadata(ConnectorServiceGetMetadataRequest::default()).await?.into_inner();
    Ok(answer.metadata.unwrap_or_default())
}

/// Builds an introduction for this task; `task_id` is empty at startup.
pub(super) fn request(api: &Api, task_id: &str, metadata: ConnectorMetadata) -> BatonServiceHelloRequest {
    BatonServiceHelloRequest {
        host_id: api.host_id(),
        task_id: task_id.to_owned(),
        build_info: Some(BuildInfo {
            lang_version: LANGUAGE.to_owned(),
            package: PACKAGE.to_owned(),
            package_version: PROGRAM.to_owned(),
        }),
        os_info: Some(machine::describe(Path::new("/"), whoami::hostname().ok())),
        connector_metadata: Some(metadata),
        annotations: Vec::new(),
    }
}

/// Whether a retry would be rejected as well.
fn is_final(error: &ApiError) -> bool {
    match error {
        ApiError::Token(error) => !error.is_temporary(),
        ApiError::Unreachable(_) | ApiError::Interrupted(_) | ApiError::Silent(_) => false,
        ApiError::Status(status) => matches!(
            status.code(),
            Code::InvalidArgument
                | Code::NotFound
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::Unimplemented
                | Code::Unauthenticated
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::iter::successors;

    use super::*;

    #[test]
    fn the_wait_doubles_up_to_five_minutes() {
        let waits = successors(Some(WAIT.0), |wait| Some(longer(*wait)));
        let seconds: Vec<u64> = waits.take(12).map(|wait| wait.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }
}
