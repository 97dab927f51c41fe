//! Whether a server offers TLS: a connector that records when the driver begins a handshake, which it does only
//! after the server has answered `S` to its request for TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

/// Whether a server has offered TLS.
#[derive(Clone, Default)]
pub(super) struct Offer(Arc<AtomicBool>);

impl Offer {
    /// Whether a handshake has begun.
    pub(super) fn is_made(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The connector, which records the offer.
    pub(super) fn recorded_by<T>(&self, inner: T) -> Recording<T> {
        Recording { inner, offer: self.clone() }
    }
}

/// A connector, or the maker of one, that records the offer.
#[derive(Clone)]
pub(super) struct Recording<T> {
    inner: T,
    offer: Offer,
}

impl<S, T: MakeTlsConnect<S>> MakeTlsConnect<S> for Recording<T> {
    type Stream = T::Stream;
    type TlsConnect = Recording<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        Ok(self.offer.recorded_by(self.inner.make_tls_connect(domain)?))
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for Recording<T> {
    type Stream = T::Stream;
    type Error = T::Error;
    type Future = T::Future;

    fn connect(self, stream: S) -> Self::Future {
        self.offer.0.store(true, Ordering::Relaxed);
        self.inner.connect(stream)
    }
}
