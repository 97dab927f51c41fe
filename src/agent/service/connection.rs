//! The connection to ConductorOne's API: one for all calls, opened by the first call and again after it
//! breaks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::agent::service::dial::Dialer;

/// The connection for calls.
#[derive(Debug)]
pub(super) struct Connection {
    endpoint: Endpoint,
    dialer: Arc<Dialer>,
    current: Mutex<Current>,
}

/// A channel, and whether it is still in use.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) channel: Channel,
    /// Cancelled when another channel replaces this one.
    pub(super) replaced: CancellationToken,
}

impl Connection {
    /// Creates a connection that uses `dialer`. Nothing is connected yet.
    pub(super) fn new(endpoint: Endpoint, dialer: Dialer) -> Self {
        let dialer = Arc::new(dialer);
        let current = Mutex::new(Current::new(&endpoint, &dialer));
        Self { endpoint, dialer, current }
    }

    /// The channel for the next call.
    pub(super) fn current(&self) -> Current {
        self.lock().clone()
    }

    /// Replaces this channel for further calls, unless it is replaced already. Running polls end; other calls
    /// continue.
    pub(super) fn replace(&self, used: &Current) {
        let mut current = self.lock();
        if !used.replaced.is_cancelled() {
            tracing::debug!("opening a new connection to ConductorOne");
            *current = Current::new(&self.endpoint, &self.dialer);
            used.replaced.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn new(endpoint: &Endpoint, dialer: &Arc<Dialer>) -> Self {
        let dialer = Arc::clone(dialer);
        let channel = endpoint.connect_with_connector_lazy(service_fn(move |_| {
            let dialer = Arc::clone(&dialer);
            async move { dialer.dial().await.map(TokioIo::new) }
        }));
        Self { channel, replaced: CancellationToken::new() }
    }
}
