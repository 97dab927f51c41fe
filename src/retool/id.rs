//! Primary keys of Retool's tables. Each table has its own type, so that keys of different tables cannot be
//! mixed up.

use std::fmt;
use std::num::NonZeroU32;

/// The number is not a primary key of Retool: keys are `int4` and start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not between 1 and 2147483647")]
pub(crate) struct OutOfRange(pub i64);

macro_rules! keys {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(NonZeroU32);

        impl $name {
            /// The key as stored in Postgres; always positive.
            pub(crate) fn get(self) -> i32 {
                self.0.get().cast_signed()
            }
        }

        impl TryFrom<i64> for $name {
            type Error = OutOfRange;

            fn try_from(number: i64) -> Result<Self, OutOfRange> {
                i32::try_from(number)
                    .ok()
                    .filter(|key| *key > 0)
                    .and_then(|key| NonZeroU32::new(key.cast_unsigned()))
                    .map(Self)
                    .ok_or(OutOfRange(number))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

keys! {
    /// `organizations.id`
    OrganizationId,
    /// `users.id`
    UserId,
    /// `groups.id`
    GroupId,
    /// `pages.id`; Retool's users call a page an app
    PageId,
    /// `resources.id`; a data source, with one row per environment
    ResourceId,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_positive_int4_keys() {
        assert_eq!(UserId::try_from(1).unwrap().get(), 1);
        assert_eq!(UserId::try_from(2_147_483_647).unwrap().get(), i32::MAX);
        for wrong in [0, -1, 2_147_483_648, i64::MIN] {
            assert_eq!(UserId::try_from(wrong), Err(OutOfRange(wrong)));
        }
    }
}
