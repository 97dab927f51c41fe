//! Times in the format of the file: local wall-clock time as text, without a time zone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

/// The current time. SQLite determines the local time zone, even in a process with many threads.
pub(super) fn now(database: &Connection) -> rusqlite::Result<String> {
    at(database, SystemTime::now())
}

/// The time `age` ago, to compare with stored times as text.
pub(super) fn ago(database: &Connection, age: Duration) -> rusqlite::Result<String> {
    at(database, SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH))
}

fn at(database: &Connection, time: SystemTime) -> rusqlite::Result<String> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let text: String = database
        .prepare_cached("SELECT datetime(?1, 'unixepoch', 'localtime')")?
        .query_row([seconds], |row| row.get(0))?;
    Ok(with_fraction(text, since.subsec_nanos()))
}

/// Appends up to nine digits without trailing zeros, and no decimal point for a whole second.
fn with_fraction(mut text: String, nanoseconds: u32) -> String {
    if nanoseconds > 0 {
        let digits = format!("{nanoseconds:09}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_have_no_trailing_zeros() {
        let written = |nanoseconds| with_fraction("2026-01-02 03:04:05".to_owned(), nanoseconds);
        assert_eq!(written(0), "2026-01-02 03:04:05");
        assert_eq!(written(120_000_000), "2026-01-02 03:04:05.12");
        assert_eq!(written(1), "2026-01-02 03:04:05.000000001");
    }
}
