//! Whom the REST client believes: the platform's certificate authorities, or those of `SSL_CERT_FILE`.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use crate::retool::api::error::SetupError;

/// TLS 1.2 and 1.3 with the cryptography that the rest of the program uses.
///
/// # Errors
/// There are no authorities, and `needed` says that they matter.
pub(super) fn client_config(needed: bool) -> Result<ClientConfig, SetupError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Platforms have odd certificates among the good ones; those are passed over.
    roots.add_parsable_certificates(found.certs);
    if needed && roots.is_empty() {
        return Err(SetupError::NoRoots(found.errors.into_iter().next().map(|error| error.to_string())));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| SetupError::Client(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
