//! Timestamps of Postgres: before Christ, after 9999, or infinite.

use std::error::Error;

use time::{Duration, OffsetDateTime, macros::datetime};
use tokio_postgres::types::{FromSql, Type};

/// A `timestamptz`. `infinity` and `-infinity` are read as `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp(pub(crate) Option<OffsetDateTime>);

/// The epoch of Postgres, from which it counts microseconds.
const EPOCH: OffsetDateTime = datetime!(2000-01-01 00:00 UTC);

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let microseconds = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(match microseconds {
            i64::MIN | i64::MAX => None,
            finite => EPOCH.checked_add(Duration::microseconds(finite)),
        }))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(microseconds: i64) -> Option<OffsetDateTime> {
        Timestamp::from_sql(&Type::TIMESTAMPTZ, &microseconds.to_be_bytes()).unwrap().0
    }

    #[test]
    fn reads_every_timestamp_of_postgres() {
        assert_eq!(read(0), Some(EPOCH));
        assert_eq!(read(-1), Some(datetime!(1999-12-31 23:59:59.999999 UTC)));
        assert_eq!(read(i64::MAX), None);
        assert_eq!(read(i64::MIN), None);
        // 294276-12-31 and 4714-11-24 BC are the limits of Postgres's calendar.
        assert_eq!(read(9_223_371_331_199_999_999).unwrap().year(), 294_276);
        assert_eq!(read(-211_813_488_000_000_000).unwrap().year(), -4_713);
    }
}
