//! `Debug` for messages with a secret in plaintext. It prints that a value is present and its length, never
//! the value.

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
        // The length is left out as well, because it would help to guess the password.
        f.debug_struct("PlaintextPassword").finish_non_exhaustive()
    }
}

/// A placeholder for this many bytes.
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
    fn debug_does_not_print_secrets() {
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
        // Bytes print as numbers, so both forms of the first letters are searched.
        for text in [format!("{config:?}"), format!("{data:?}"), format!("{options:?}")] {
            assert!(!text.contains("hunter") && !text.contains("104, 117"), "{text}");
        }
        assert!(format!("{config:?}").contains("key: <7 bytes>"));
    }
}
