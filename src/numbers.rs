//! Numbers in texts for people: rounded, with a unit. Machines get raw numbers; durations in the log have
//! three decimals.

use std::time::Duration;

const KIB: u64 = 1024;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A count with a separator after each three digits: `1,906`. A negative number counts as 0.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or_default().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes with the largest unit that it fills: `32 MiB`, `1.5 KiB`, `12 bytes`. A negative number
/// counts as 0.
pub(crate) fn size(bytes: impl TryInto<u64>) -> String {
    let bytes = bytes.try_into().unwrap_or_default();
    let units = [("GiB", KIB.pow(3)), ("MiB", KIB.pow(2)), ("KiB", KIB)];
    // A number that rounds up to a whole larger unit gets that unit: 1 MiB instead of 1024 KiB.
    match units.into_iter().find(|(_, unit)| bytes.saturating_add(unit / 20 / KIB) >= *unit) {
        Some((name, unit)) => format!("{} {name}", one_decimal(bytes as f64 / unit as f64)),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

/// A duration with the one or two units that matter: `9 ms`, `2.5 s`, `1 h 7 min`, `297 days`.
pub(crate) fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    // Rounded half up.
    let seconds = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    match duration.as_secs() {
        0 if milliseconds == 0 && !duration.is_zero() => "less than 1 ms".to_owned(),
        0 => format!("{milliseconds} ms"),
        1..10 => format!("{} s", one_decimal(duration.as_secs_f64())),
        10..120 => format!("{seconds} s"),
        120..HOUR => two_units((seconds / MINUTE, "min"), (seconds % MINUTE, "s")),
        HOUR..DAY => two_units((seconds / HOUR, "h"), (seconds % HOUR / MINUTE, "min")),
        _ if seconds / DAY == 1 => "1 day".to_owned(),
        _ => format!("{} days", count(seconds / DAY)),
    }
}

/// Seconds with at most three decimals, for a field of the log.
pub(crate) fn log_seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

/// Milliseconds with at most three decimals, for a field of the log.
pub(crate) fn log_milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn two_units(first: (u64, &str), second: (u64, &str)) -> String {
    let (whole, unit) = first;
    match second {
        (0, _) => format!("{whole} {unit}"),
        (rest, smaller) => format!("{whole} {unit} {rest} {smaller}"),
    }
}

/// One digit after the point, unless it is a zero.
fn one_decimal(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_906, "1,906"),
            (123_456, "123,456"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(-1), "0");
    }

    #[test]
    fn sizes_have_the_largest_unit_that_they_fill() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1_023, "1023 bytes"),
            (1_024, "1 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_575, "1 MiB"),
            (33_554_432, "32 MiB"),
            (5_000_000, "4.8 MiB"),
            (1 << 30, "1 GiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn durations_have_the_units_that_matter() {
        for (milliseconds, text) in [
            (0, "0 ms"),
            (9, "9 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (2_540, "2.5 s"),
            (9_999, "10 s"),
            (60_000, "60 s"),
            (119_999, "120 s"),
            (300_000, "5 min"),
            (125_000, "2 min 5 s"),
            (3_599_999, "60 min"),
            (3_600_000, "1 h"),
            (4_000_000, "1 h 6 min"),
            (86_400_000, "1 day"),
            (7_130 * 3_600_000, "297 days"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text, "{milliseconds} ms");
        }
        assert_eq!(duration(Duration::from_micros(1)), "less than 1 ms");
    }

    #[test]
    fn durations_in_the_log_have_at_most_three_decimals() {
        let took = Duration::from_nanos(1_234_567_891);
        assert_eq!((log_seconds(took), log_milliseconds(took)), (1.234, 1234.567));
    }
}
