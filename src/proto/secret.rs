//! `Debug` for the messages that carry a secret in the clear. It says that something is there and how
//! long it is, never what.

use std::fmt;

use crate::proto::connector::PlaintextData;
use crate::proto::connector::local_credential_options::PlaintextPassword;
use crate::proto::utls::Credential;

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("ca_cert", &Hidden(self.ca_cert.len()))
            .field("key", &Hidden(self.key.len()))
            .field("cert", &Hidden(self.cert.len()))
            .finish()
    }
}

impl fmt::Debug for PlaintextData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaintextData")
            .field("name", &self.name)
            .field("description", &self.description)
            .field("schema", &self.schema)
            .field("bytes", &Hidden(self.bytes.len()))
            .finish()
    }
}

impl fmt::Debug for PlaintextPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the length, which would help to guess it.
        f.debug_struct("PlaintextPassword").finish_non_exhaustive()
    }
}

/// Stands in for so many bytes.
struct Hidden(usize);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::connector::{LocalCredentialOptions, local_credential_options::Options};
    use crate::proto::connector_wrapper::ServerConfig;

    #[test]
    fn secrets_stay_out_of_debug() {
        let config = ServerConfig {
            credential: Some(Credential {
                ca_cert: b"hunter".to_vec(),
                key: b"hunter2".to_vec(),
                cert: b"hunter22".to_vec(),
            }),
            ..ServerConfig::default()
        };
        let data =
            PlaintextData { name: "password".into(), bytes: b"hunter2".to_vec(), ..PlaintextData::default() };
        let options = LocalCredentialOptions {
            options: Some(Options::PlaintextPassword(PlaintextPassword {
                plaintext_password: "hunter2".into(),
            })),
            ..LocalCredentialOptions::default()
        };
        // Bytes print as numbers, so the first letters are looked for in both forms.
        for text in [format!("{config:?}"), format!("{data:?}"), format!("{options:?}")] {
            assert!(!text.contains("hunter") && !text.contains("104, 117"), "{text}");
        }
        assert!(format!("{config:?}").contains("key: <7 bytes>"));
    }
}
