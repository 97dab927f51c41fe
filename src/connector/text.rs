//! Truncates texts to the limits that the protocol sets for requests, because agents send the texts of our
//! answers back.

use time::OffsetDateTime;

/// Longest display name in bytes.
pub(super) const DISPLAY_NAME: usize = 1024;
/// Longest description of an entitlement in bytes.
pub(super) const DESCRIPTION: usize = 2048;

/// The text, truncated at a character boundary to at most `limit` bytes.
pub(super) fn fit(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

/// The first text that is not blank, unchanged.
pub(super) fn first_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    texts.into_iter().find(|text| !text.trim().is_empty())
}

/// The name as a display name, or the id if the name is blank.
pub(super) fn named(name: &str, id: impl std::fmt::Display) -> String {
    match first_of([name]) {
        Some(_) => fit(name.to_owned(), DISPLAY_NAME),
        None => id.to_string(),
    }
}

/// A time in the format of user profiles, always in UTC (decision utc-times); NULL is year 1. The format
/// never changes.
pub(super) fn profile_time(time: Option<OffsetDateTime>) -> String {
    let Some(time) = time else { return "0001-01-01 00:00:00 +0000 UTC".to_owned() };
    let time = time.to_offset(time::UtcOffset::UTC);
    let sign = if time.year() < 0 { "-" } else { "" };
    let fraction = match time.microsecond() {
        0 => String::new(),
        microseconds => format!(".{microseconds:06}").trim_end_matches('0').to_owned(),
    };
    format!(
        "{sign}{:04}-{:02}-{:02} {:02}:{:02}:{:02}{fraction} +0000 UTC",
        time.year().unsigned_abs(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    )
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn profile_times_keep_their_format() {
        for (time, text) in [
            (datetime!(2026-01-01 00:01 UTC), "2026-01-01 00:01:00 +0000 UTC"),
            (datetime!(2026-01-01 00:01:02.123456 UTC), "2026-01-01 00:01:02.123456 +0000 UTC"),
            (datetime!(2026-01-01 00:01:02.12 UTC), "2026-01-01 00:01:02.12 +0000 UTC"),
            (datetime!(2026-01-01 00:01:02.000001 UTC), "2026-01-01 00:01:02.000001 +0000 UTC"),
            (datetime!(2026-01-01 01:30 +05:30), "2025-12-31 20:00:00 +0000 UTC"),
            (datetime!(+12026-01-01 00:00 UTC), "12026-01-01 00:00:00 +0000 UTC"),
            (datetime!(-0043-03-15 12:00 UTC), "-0043-03-15 12:00:00 +0000 UTC"),
        ] {
            assert_eq!(profile_time(Some(time)), text);
        }
        assert_eq!(profile_time(None), "0001-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn truncates_long_texts_between_characters() {
        assert_eq!(fit("short".into(), 10), "short");
        assert_eq!(fit("aé".into(), 2), "a");
        assert_eq!(fit("aé".into(), 3), "aé");
        assert_eq!(fit("李".repeat(500), 1024).len(), 1023);
    }

    #[test]
    fn a_blank_name_is_replaced_by_the_id() {
        assert_eq!(named("All Users ", "g1"), "All Users ");
        assert_eq!(named(" ", "g1"), "g1");
    }

    #[test]
    fn skips_blank_texts() {
        assert_eq!(first_of(["", "  ", " a ", "b"]), Some(" a "));
        assert_eq!(first_of([" "]), None);
    }
}
