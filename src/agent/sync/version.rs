//! Capabilities of a connector that follow from its version.

use semver::Version;

/// The first SDK version whose servers accept the id of a sync in a request.
const FIRST: Version = Version::new(0, 4, 3);

/// Whether a connector of this SDK version accepts the id of the sync that a call belongs to. It does not if
/// the version is empty, invalid, older, or a pre-release.
pub(crate) fn takes_sync_id(sdk_version: &str) -> bool {
    let number = sdk_version.strip_prefix('v').unwrap_or(sdk_version);
    let padded = match number.matches('.').count() {
        0 => format!("{number}.0.0"),
        1 => format!("{number}.0"),
        _ => number.to_owned(),
    };
    Version::parse(&padded).is_ok_and(|version| version.pre.is_empty() && version >= FIRST)
}

#[cfg(test)]
mod tests {
    use super::takes_sync_id;

    #[test]
    fn accepts_only_releases_since_0_4_3() {
        for yes in ["v0.4.3", "0.4.3", "v0.25.0", "v1", "v1.2", "v0.12.7", "v0.25.0+build"] {
            assert!(takes_sync_id(yes), "{yes}");
        }
        for no in ["", "v0.4.2", "v0.25.1-0.2026", "latest", "v0", "v0.4", "1.2.3.4", "v-1.2.3"] {
            assert!(!takes_sync_id(no), "{no}");
        }
    }
}
