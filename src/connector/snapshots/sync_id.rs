//! Identifies syncs by the names that callers choose.

use sha2::{Digest, Sha256};

/// A sync, identified by a digest of its name, because a name can be as long as a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SyncId([u8; 16]);

impl SyncId {
    /// `None` for an empty name, which means no sync.
    pub(super) fn of(name: &str) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(Sha256::digest(name.as_bytes())) {
            *to = from;
        }
        Some(Self(id))
    }
}
