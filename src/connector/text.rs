//! Cuts texts to the limits that the protocol sets for requests: agents send the texts of our answers back.

use time::OffsetDateTime;

/// Longest display name in bytes.
pub(super) const DISPLAY_NAME: usize = 1024;
/// Longest description of an entitlement in bytes.
pub(super) const DESCRIPTION: usize = 2048;

/// The text, cut at a character so that it has `limit` bytes at the most.
pub(super) fn fit(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

/// The first text that says something, as it stands.
pub(super) fn first_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    texts.into_iter().find(|text| !text.trim().is_empty())
}

/// The name, or the id of whatever has none; either way fit to be a display name.
pub(super) fn named(name: &str, id: impl std::fmt::Display) -> String {
    match first_of([name]) {
        Some(_) => fit(name.to_owned(), DISPLAY_NAME),
        None => id.to_string(),
    }
}

/// A point in time as user profiles have always spelled it, always in UTC; NULL is the year 1.
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
    fn profile_times_look_as_tenants_have_them() {
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
    fn long_texts_are_cut_between_characters() {
        assert_eq!(fit("short".into(), 10), "short");
        assert_eq!(fit("aé".into(), 2), "a");
        assert_eq!(fit("aé".into(), 3), "aé");
        assert_eq!(fit("李".repeat(500), 1024).len(), 1023);
    }

    #[test]
    fn a_nameless_thing_is_called_by_its_id() {
        assert_eq!(named("All Users ", "g1"), "All Users ");
        assert_eq!(named(" ", "g1"), "g1");
    }

    #[test]
    fn blank_texts_say_nothing() {
        assert_eq!(first_of(["", "  ", " a ", "b"]), Some(" a "));
        assert_eq!(first_of([" "]), None);
    }
}
