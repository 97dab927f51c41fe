//! ConductorOne's API: every call on one kept connection, with a fresh access token.

use std::sync::Arc;
use std::time::Duration;

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
use crate::proto::connectorapi::baton_service_client::BatonServiceClient;
use crate::proto::connectorapi::{
    BatonServiceFinishTaskRequest, BatonServiceGetTaskRequest, BatonServiceGetTaskResponse,
    BatonServiceGetTasksRequest, BatonServiceGetTasksResponse, BatonServiceHeartbeatRequest,
    BatonServiceHeartbeatResponse, BatonServiceHelloRequest, BatonServiceUploadAssetRequest,
};

/// How long the answer to a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// It is answered at once.
    Short,
    /// The API may hold its answer back until there is a task.
    Poll,
    /// A file is on the way.
    Upload,
}

/// How long the connection may have calls and no word before HTTP/2 asks whether the API is still there. Servers
/// close connections that ask more often.
const KEEPALIVE: Duration = Duration::from_secs(5 * 60 + 10);
/// How long the API has to answer that.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// There is no token to make it with.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The API cannot be reached: it has not seen the call.
    #[error("ConductorOne's API cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke: the API may have seen the call.
    #[error("the connection to ConductorOne's API broke: {0}")]
    Interrupted(String),
    /// The API refused it.
    #[error("ConductorOne's API answered {:?}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    /// It took too long.
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

impl Patience {
    fn limit(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(30),
            Self::Poll => Duration::from_secs(10 * 60),
            Self::Upload => Duration::from_secs(2 * 60 * 60),
        }
    }
}

impl ApiError {
    /// The code that the API answered; nothing where it did not.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Status(status) => Some(status.code()),
            _ => None,
        }
    }

    /// Whether the API was not there, or was out of order, so that the call says nothing about what it was for.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Token(error) => error.is_temporary(),
            Self::Unreachable(_) | Self::Interrupted(_) | Self::Silent(_) => true,
            // What stands before the API answers so while nothing is behind it.
            Self::Status(status) => status.code() == Code::Unavailable,
        }
    }

    fn of(status: Status) -> Self {
        // What the API sends has no cause in this process; what a broken connection leads to has.
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
    /// A client that makes its connections with `dialer` and is known as `name`. Nothing is connected yet.
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
        // The dialer does TLS; to tonic it is a plain connection.
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

    /// What the API knows this installation by.
    pub(crate) fn host_id(&self) -> String {
        self.host_id.as_ref().to_owned()
    }

    /// Introduces this program.
    ///
    /// # Errors
    /// [`ApiError`], as for every call.
    pub(crate) async fn hello(&self, request: BatonServiceHelloRequest) -> Result<(), ApiError> {
        let send = |mut client: Client, request| async move { client.hello(request).await };
        self.call(Patience::Short, request, send).await.map(drop)
    }

    /// Asks for a task.
    pub(crate) async fn get_task(&self) -> Result<BatonServiceGetTaskResponse, ApiError> {
        let request = BatonServiceGetTaskRequest { host_id: self.host_id() };
        let send = |mut client: Client, request| async move { client.get_task(request).await };
        self.call(Patience::Poll, request, send).await
    }

    /// Asks for at most `most` tasks besides those that are known.
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
        self.call(Patience::Poll, request, send).await
    }

    /// Says that a task is still worked on.
    pub(crate) async fn heartbeat(&self, task_id: &str) -> Result<BatonServiceHeartbeatResponse, ApiError> {
        let request = BatonServiceHeartbeatRequest {
            host_id: self.host_id(),
            task_id: task_id.to_owned(),
            ..Default::default()
        };
        let send = |mut client: Client, request| async move { client.heartbeat(request).await };
        self.call(Patience::Short, request, send).await
    }

    /// Says how a task ended.
    pub(crate) async fn finish_task(&self, request: BatonServiceFinishTaskRequest) -> Result<(), ApiError> {
        let send = |mut client: Client, request| async move { client.finish_task(request).await };
        self.call(Patience::Short, request, send).await.map(drop)
    }

    /// Sends a file in pieces.
    pub(crate) async fn upload(
        &self,
        pieces: impl Stream<Item = BatonServiceUploadAssetRequest> + Send + 'static,
    ) -> Result<(), ApiError> {
        let send = |mut client: Client, request| async move { client.upload_asset(request).await };
        self.call(Patience::Upload, pieces, send).await.map(drop)
    }

    async fn call<Q, A, F>(
        &self,
        patience: Patience,
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
        let limit = patience.limit();
        let answer = tokio::select! {
            answer = timeout(limit, send(client, request)) => answer,
            // Nothing else would notice for minutes that no task can come this way.
            () = channel.replaced.cancelled(), if patience == Patience::Poll => {
                return Err(ApiError::Interrupted("another call got no answer on it".to_owned()));
            }
        };
        match answer {
            Err(_) => {
                // Something on the way may have lost the connection without a word to either end.
                self.connection.replace(&channel);
                Err(ApiError::Silent(limit))
            }
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => {
                if status.code() == Code::Unauthenticated {
                    self.tokens.refused(&authorization).await;
                }
                Err(ApiError::of(status))
            }
        }
    }
}

/// What is at the bottom of an error.
#[cfg(feature = "lambda")]
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        // A dial error tells everything; what is below repeats a part.
        if innermost.is::<DialError>() {
            break;
        }
        innermost = cause;
    }
    innermost.to_string()
}

/// A name with only the letters that a header can have.
fn visible(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { '_' }).collect()
}
