//! Durations in the format of Go: `1h30m`, `90s`, `250ms`, `1.5h`.

use std::time::Duration;

const UNITS: &[(&str, u64)] = &[
    // Longest first, so that "ms" is not parsed as "m" with a remainder.
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses a duration. `None` if it is invalid, negative, or longer than Go can represent (about 292 years).
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, after) = rest.split_at(end);
        let (unit, size) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(nanoseconds(number, *size)?)?;
        rest = &after[unit.len()..];
    }
    i64::try_from(total).ok().map(|_| Duration::from_nanos(total))
}

/// `number`, which may have a fraction, times `unit`. Fractions of a nanosecond are truncated.
fn nanoseconds(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut total = whole.checked_mul(unit)?;
    // Integer arithmetic: a remainder times ten is far below the limits of u64.
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?) * place)?;
    }
    Some(total)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations_that_go_writes() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("1h0m0s", 3_600_000),
            ("250ms", 250),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("2.s", 2_000),
            ("+1m", 60_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("1us2ns"), Some(Duration::from_nanos(1_002)));
        assert_eq!(parse("3µs"), Some(Duration::from_micros(3)));
    }

    #[test]
    fn rejects_any_other_duration() {
        for text in [
            "",
            "+",
            "1",
            "s",
            ".s",
            "1.2.3s",
            "-1s",
            "1d",
            "1h 30m",
            "1hm",
            "3000000h",
            "99999999999999999999s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn adds_the_units_of_a_duration(hours in 0_u64..1000, minutes in 0_u64..60, seconds in 0_u64..60, millis in 0_u64..1000) {
            let expected = Duration::from_millis(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis);
            prop_assert_eq!(parse(&format!("{hours}h{minutes}m{seconds}.{millis:03}s")), Some(expected));
        }
    }
}
