//! What a connector reads, without the secrets of its settings.

use sha2::{Digest as _, Sha256};

/// Identifies what a connector reads: the database, and the settings that decide which rows it returns. It keeps only a
/// checksum, because the settings of a database can contain secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    /// The source with this description.
    pub fn of(description: &str) -> Self {
        Self(checksum(description))
    }

    pub(crate) fn checksum(&self) -> &str {
        &self.0
    }
}

/// A short checksum of a text, in hexadecimal digits.
pub(crate) fn checksum(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_description_of_a_source() {
        let shown = format!("{:?}", Source::of("host=db password=hunter2"));
        assert!(!shown.contains("hunter2") && !shown.contains("host"), "{shown}");
    }
}
