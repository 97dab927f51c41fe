//! The `ssl...` settings.

use std::path::PathBuf;

use crate::postgres::connection_string::environment::Environment;
use crate::postgres::connection_string::error::ConnectionStringError;
use crate::postgres::connection_string::layers::Layers;
use crate::postgres::connection_string::session_settings::zero_or_one;
use crate::postgres::tls::{ClientIdentity, Roots, SslMode, TlsSettings};

/// Reads the TLS settings. As in libpq, unset files default to those in `.postgresql` in the home directory,
/// if they exist.
pub(crate) fn read(
    layers: &Layers,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<TlsSettings, ConnectionStringError> {
    let at_home = |file| environment.at_home(file).filter(|path| path.exists());
    let is_named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    // Without it, sslmode=require would accept any certificate.
    let named_roots =
        layers.parsed("sslrootcert", "the path of a file, or system; remove it otherwise", is_named)?;
    let named_roots = named_roots.as_deref();
    let system = named_roots == Some("system");
    // The client library of Retool uses this name for a mode that encrypts without any verification.
    if let Some(("no-verify", origin)) = layers.text_from("sslmode") {
        let expected = "require instead of no-verify, which only Node.js supports: it encrypts and checks no certificate";
        return Err(ConnectionStringError::Invalid { key: "sslmode", origin, expected });
    }
    let mode = layers
        .parsed("sslmode", "disable, allow, prefer, require, verify-ca or verify-full", SslMode::from_name)?
        .unwrap_or(if system { SslMode::VerifyFull } else { SslMode::Prefer });
    if system && mode != SslMode::VerifyFull {
        return Err(ConnectionStringError::WeakSystemRoots);
    }
    if named_roots.is_some() && matches!(mode, SslMode::Allow | SslMode::Prefer) {
        warnings.push(format!(
            "sslrootcert has no effect with sslmode={mode}, which accepts any certificate; \
             sslmode=verify-full checks it"
        ));
    }
    let roots = match named_roots {
        Some("system") => Roots::Platform,
        Some(path) => Roots::File(PathBuf::from(path)),
        None => at_home(".postgresql/root.crt").map_or(Roots::Platform, Roots::File),
    };

    let files = match (layers.text("sslcert"), layers.text("sslkey")) {
        (Some(certificate), Some(key)) => Some((PathBuf::from(certificate), PathBuf::from(key))),
        (Some(_), None) => {
            return Err(ConnectionStringError::HalfIdentity { given: "sslcert", missing: "sslkey" });
        }
        (None, Some(_)) => {
            return Err(ConnectionStringError::HalfIdentity { given: "sslkey", missing: "sslcert" });
        }
        (None, None) => at_home(".postgresql/postgresql.crt").zip(at_home(".postgresql/postgresql.key")),
    };
    let identity = files.map(|(certificate, key)| ClientIdentity {
        certificate,
        key,
        key_password: layers.text("sslpassword").map(Into::into),
    });
    let sni = layers.parsed("sslsni", "0 or 1", zero_or_one)?.unwrap_or(true);
    Ok(TlsSettings { mode, roots, identity, sni })
}
