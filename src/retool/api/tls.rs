//! Certificate authorities that the REST client trusts: the platform's, or those in `SSL_CERT_FILE`.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};

use crate::retool::api::error::SetupError;
use crate::tls_roots;

/// TLS 1.2 and 1.3 with the same cryptography as the rest of the program.
///
/// # Errors
/// No certificate authorities are found although `needed` is set.
pub(super) fn client_config(needed: bool) -> Result<ClientConfig, SetupError> {
    let platform = tls_roots::platform();
    let roots = tls_roots::usable_anchors(platform.certificates);
    if needed && roots.is_empty() {
        return Err(SetupError::NoRoots(platform.problem.map(|error| error.to_string())));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| SetupError::Client(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
