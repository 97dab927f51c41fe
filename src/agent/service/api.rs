//! ConductorOne's API: all calls share one persistent connection, and each carries a valid access token.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::agent::service::api_host::ApiHost;
use crate::agent::service::connection::Connection;
use crate::agent::service::dial::{DialError, Dialer, SetupError};
use crate::agent::service::token::{TokenError, Tokens};
use crate::agent::service::version::SDK;
use crate::private_text::PrivateText;
use crate::proto::connectorapi::baton_service_client::BatonServiceClient;
use crate::proto::connectorapi::{
    BatonServiceFinishTaskRequest, BatonServiceGetTaskRequest, BatonServiceGetTaskResponse,
    BatonServiceGetTasksRequest, BatonServiceGetTasksResponse, BatonServiceHeartbeatRequest,
    BatonServiceHeartbeatResponse, BatonServiceHelloRequest, BatonServiceUploadAssetRequest,
};

/// The timeout class of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MaxWait {
    /// The API answers at once.
    Short,
    /// The API may delay its response until there is a task.
    Poll,
    /// A file is being uploaded.
    Upload,
}

/// How long a connection with open calls may be silent before an HTTP/2 ping checks it. Servers close
/// connections that ping more often.
const KEEPALIVE: Duration = Duration::from_secs(5 * 60 + 10);
/// How long the API may take to answer a ping.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);

/// The cause if a response cannot be read.
const MALFORMED: &str = "the response has a malformed status";

/// The reason why a call failed.
///
/// The message of a status can repeat what a report contains, such as names of people. `Display` leaves it out, so
/// that an error is safe to log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No token is available for the call.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The API cannot be reached: it has not received the call.
    #[error("ConductorOne's API cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke: the API may have received the call.
    #[error("the connection to ConductorOne's API broke: {0}")]
    Interrupted(String),
    /// The API returned an error.
    #[error("ConductorOne's API answered {:?}: {}", .0.code(), PrivateText::from(.0.message()).unquoted())]
    Status(Box<Status>),
    /// The call timed out.
    #[error("ConductorOne's API did not answer within {} s", .0.as_secs())]
    Silent(Duration),
}

/// The client of the API. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    connection: Arc<Connection>,
    tokens: Arc<Tokens>,
    host_id: Arc<str>,
}

type Client = BatonServiceClient<Channel>;

impl MaxWait {
    fn limit(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(30),
            Self::Poll => Duration::from_secs(10 * 60),
            Self::Upload => Duration::from_secs(2 * 60 * 60),
        }
    }
}

impl ApiError {
    /// The code that the API returned; `None` if it returned none.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Status(status) => Some(status.code()),
            _ => None,
        }
    }

    /// Whether the API was unreachable or unavailable, so that the error does not concern the call itself.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Token(error) => error.is_temporary(),
            Self::Unreachable(_) | Self::Interrupted(_) | Self::Silent(_) => true,
            // A proxy in front of the API returns this while the API is down.
            Self::Status(status) => status.code() == Code::Unavailable,
        }
    }

    fn of(status: Status) -> Self {
        // An error that the API sent has no source in this process; a broken connection has one.
        let Some(mut cause) = std::error::Error::source(&status) else {
            return Self::Status(Box::new(status));
        };
        loop {
            if cause.is::<DialError>() {
                return Self::Unreachable(cause.to_string());
            }
            match cause.source() {
                Some(next) => cause = next,
                None => return Self::Interrupted(cause.to_string()),
            }
        }
    }
}

impl Api {
    /// Creates a client that connects with `dialer` and sends `name` as its user agent. Nothing is connected
    /// yet.
    ///
    /// # Errors
    /// [`SetupError`]
    pub(crate) fn new(
        host: &ApiHost,
        dialer: Dialer,
        tokens: Tokens,
        name: &str,
        host_id: &str,
    ) -> Result<Self, SetupError> {
        let failed = |error: &dyn std::fmt::Display| SetupError::Client(error.to_string());
        let authority = host.authority();
        let origin = format!("https://{authority}").parse().map_err(|error| failed(&error))?;
        // The dialer handles TLS; tonic sees a plain connection.
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))
            .and_then(|endpoint| {
                endpoint.user_agent(format!("{} baton-sdk/{SDK}", visible(name)).trim_start().to_owned())
            })
            .map_err(|error| failed(&error))?
            .origin(origin)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(false);
        Ok(Self {
            connection: Arc::new(Connection::new(endpoint, dialer)),
            tokens: Arc::new(tokens),
            host_id: host_id.into(),
        })
    }

    /// The id of this installation in the API.
    pub(crate) fn host_id(&self) -> String {
        self.host_id.as_ref().to_owned()
    }

    /// Introduces this program.
    ///
    /// # Errors
    /// [`ApiError`]; this also applies to every other call.
    pub(crate) async fn hello(&self, request: BatonServiceHelloRequest) -> Result<(), ApiError> {
        let send = |mut client: Client, request| async move { client.hello(request).await };
        self.call(MaxWait::Short, request, send).await.map(drop)
    }

    /// Requests a task.
    pub(crate) async fn get_task(&self) -> Result<BatonServiceGetTaskResponse, ApiError> {
        let request = BatonServiceGetTaskRequest { host_id: self.host_id() };
        let send = |mut client: Client, request| async move { client.get_task(request).await };
        self.call(MaxWait::Poll, request, send).await
    }

    /// Requests at most `most` tasks other than the known ones.
    pub(crate) async fn get_tasks(
        &self,
        most: usize,
        known: Vec<String>,
    ) -> Result<BatonServiceGetTasksResponse, ApiError> {
        let request = BatonServiceGetTasksRequest {
            host_id: self.host_id(),
            page_size: u32::try_from(most.clamp(1, 100)).unwrap_or(100),
            known_task_ids: known,
            annotations: Vec::new(),
        };
        let send = |mut client: Client, request| async move { client.get_tasks(request).await };
        self.call(MaxWait::Poll, request, send).await
    }

    /// Reports that a task is still running.
    pub(crate) async fn heartbeat(&self, task_id: &str) -> Result<BatonServiceHeartbeatResponse, ApiError> {
        let request = BatonServiceHeartbeatRequest {
            host_id: self.host_id(),
            task_id: task_id.to_owned(),
            ..Default::default()
        };
        let send = |mut client: Client, request| async move { client.heartbeat(request).await };
        self.call(MaxWait::Short, request, send).await
    }

    /// Reports how a task ended.
    pub(crate) async fn finish_task(&self, request: BatonServiceFinishTaskRequest) -> Result<(), ApiError> {
        let send = |mut client: Client, request| async move { client.finish_task(request).await };
        self.call(MaxWait::Short, request, send).await.map(drop)
    }

    /// Uploads a file in pieces.
    pub(crate) async fn upload(
        &self,
        pieces: impl Stream<Item = BatonServiceUploadAssetRequest> + Send + 'static,
    ) -> Result<(), ApiError> {
        let send = |mut client: Client, request| async move { client.upload_asset(request).await };
        self.call(MaxWait::Upload, pieces, send).await.map(drop)
    }

    async fn call<Q, A, F>(
        &self,
        max_wait: MaxWait,
        message: Q,
        send: impl FnOnce(Client, Request<Q>) -> F,
    ) -> Result<A, ApiError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let authorization: MetadataValue<Ascii> = self.tokens.authorization().await?;
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", authorization.clone());
        let channel = self.connection.current();
        let client = BatonServiceClient::new(channel.channel.clone());
        let limit = max_wait.limit();
        // tonic panics on a malformed detail of a status, and the peer or a proxy can send one.
        let sending = AssertUnwindSafe(send(client, request)).catch_unwind();
        let answer = tokio::select! {
            answer = timeout(limit, sending) => answer,
            // Without this, a poll would notice only after minutes that the connection is dead.
            () = channel.replaced.cancelled(), if max_wait == MaxWait::Poll => {
                return Err(ApiError::Interrupted("another call on it received no response".to_owned()));
            }
        };
        match answer {
            Err(_) => {
                // A device on the path may have dropped the connection without notifying either end.
                self.connection.replace(&channel);
                Err(ApiError::Silent(limit))
            }
            Ok(Err(_)) => Err(ApiError::Interrupted(MALFORMED.to_owned())),
            Ok(Ok(Ok(answer))) => Ok(answer.into_inner()),
            Ok(Ok(Err(status))) => {
                if status.code() == Code::Unauthenticated {
                    self.tokens.refused(&authorization).await;
                }
                Err(ApiError::of(status))
            }
        }
    }
}

/// The innermost cause of an error.
#[cfg(feature = "lambda")]
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        // A dial error is complete; its causes repeat parts of it.
        if innermost.is::<DialError>() {
            break;
        }
        innermost = cause;
    }
    innermost.to_string()
}

/// A name with all characters replaced that a header cannot contain.
fn visible(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { '_' }).collect()
}
