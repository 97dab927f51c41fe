//! Rate limits of the API, read from response headers.

use http::{HeaderMap, StatusCode};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// The number of requests left, and the time of the reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimit {
    /// Requests per period; 0 if the response does not contain it.
    pub limit: i64,
    /// Requests left in the period; 0 if the response does not contain it.
    pub remaining: i64,
    /// When the period ends: the beginning of year 1 if the response does not contain it, `None` without a
    /// response.
    pub reset_at: Option<OffsetDateTime>,
    /// Whether the next request may be sent.
    pub standing: Standing,
}

/// Whether another request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The response does not report it.
    Unknown,
    /// It may be sent.
    Open,
    /// It may not be sent before the reset.
    Exceeded,
}

/// The prefixes of the header names, in order of precedence.
const FAMILIES: [&str; 4] = ["x-ratelimit-", "ratelimit-", "x-ratelimit-requests-", "x-rate-limit-"];
/// Larger integers are milliseconds since 1970, integers above [`SECONDS`] are seconds since 1970, and all
/// others are seconds from now.
const MILLISECONDS: i64 = 946_080_000_000;
const SECONDS: i64 = 946_080_000;
/// How long to wait after a 429 without a reset time.
const PAUSE: Duration = Duration::seconds(60);
/// Stands for an unknown reset time.
const NO_TIME: OffsetDateTime = time::macros::datetime!(0001-01-01 00:00 UTC);

impl RateLimit {
    /// The limits without a response.
    pub(crate) const UNKNOWN: Self =
        Self { limit: 0, remaining: 0, reset_at: None, standing: Standing::Unknown };

    /// Reads the headers of a response received at `now`. An invalid header counts as absent.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, now: OffsetDateTime) -> Self {
        let texts = |names: Vec<String>| {
            names.into_iter().filter_map(|name| headers.get(name)?.to_str().ok().map(str::trim))
        };
        let family = |last: &str| FAMILIES.iter().map(|first| format!("{first}{last}")).collect::<Vec<_>>();
        let limit = texts(family("limit")).find_map(leading_digits);
        let remaining = texts(family("remaining")).find_map(leading_digits).unwrap_or_default();
        let mut resets = family("reset");
        resets.push("retry-after".to_owned());
        let reset_at = texts(resets).find_map(|text| moment(text, now));
        if status != StatusCode::TOO_MANY_REQUESTS {
            return Self {
                limit: limit.unwrap_or_default(),
                remaining,
                reset_at: Some(reset_at.unwrap_or(NO_TIME)),
                standing: if remaining > 0 { Standing::Open } else { Standing::Unknown },
            };
        }
        let (limit, reset_at) = match reset_at {
            Some(reset_at) => (limit.unwrap_or_default(), Some(reset_at)),
            None => (1, now.checked_add(PAUSE)),
        };
        Self { limit, remaining: 0, reset_at, standing: Standing::Exceeded }
    }
}

/// Reads `100` from `100;w=60`.
fn leading_digits(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// The time, if a protobuf timestamp can represent it.
fn moment(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let moment = match text.parse::<i64>() {
        Ok(number) if number > MILLISECONDS => {
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(number) * 1_000_000).ok()?
        }
        Ok(number) if number > SECONDS => OffsetDateTime::from_unix_timestamp(number).ok()?,
        Ok(number) => now.checked_add(Duration::seconds(number))?,
        Err(_) => OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .or_else(|| httpdate::parse_http_date(text).ok().map(OffsetDateTime::from))?,
    };
    let year = moment.to_offset(time::UtcOffset::UTC).year();
    (1..=9999).contains(&year).then_some(moment)
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn read(status: u16, headers: &[(&str, &str)]) -> RateLimit {
        let headers = headers.iter().filter_map(|(name, value)| {
            Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
        });
        let status = StatusCode::from_u16(status).unwrap_or_default();
        RateLimit::read(status, &headers.collect(), NOW)
    }

    fn reset(header: &str) -> Option<OffsetDateTime> {
        read(200, &[("Retry-After", header)]).reset_at.filter(|time| *time != NO_TIME)
    }

    #[test]
    fn limits_are_unknown_without_headers() {
        let nothing =
            RateLimit { limit: 0, remaining: 0, reset_at: Some(NO_TIME), standing: Standing::Unknown };
        assert_eq!(read(200, &[]), nothing);
        assert_eq!(read(503, &[]), nothing);
        assert_eq!(NO_TIME.unix_timestamp(), -62_135_596_800);
    }

    #[test]
    fn reads_each_header_family_and_prefers_the_first() {
        for family in ["X-Ratelimit-", "Ratelimit-", "X-RateLimit-Requests-", "X-Rate-Limit-"] {
            let names = ["Limit", "Remaining", "Reset"].map(|last| format!("{family}{last}"));
            let limit = read(200, &[(&names[0], "100;w=60"), (&names[1], "7"), (&names[2], "30")]);
            let expected = RateLimit {
                limit: 100,
                remaining: 7,
                reset_at: Some(datetime!(2026-03-01 12:00:30 UTC)),
                standing: Standing::Open,
            };
            assert_eq!(limit, expected, "{family}");
        }
        let both =
            read(200, &[("X-Rate-Limit-Limit", "2"), ("X-Ratelimit-Limit", "1"), ("Retry-After", "5")]);
        assert_eq!(both.limit, 1);
        let reset = [("Retry-After", "5"), ("Ratelimit-Reset", "9")];
        assert_eq!(read(200, &reset).reset_at, Some(datetime!(2026-03-01 12:00:09 UTC)));
    }

    #[test]
    fn malformed_headers_count_as_absent() {
        let junk = [
            ("X-Ratelimit-Limit", "lots"),
            ("X-Ratelimit-Remaining", ""),
            ("X-Ratelimit-Reset", "soon"),
            ("Ratelimit-Limit", "9999999999999999999999"),
            ("Retry-After", "1.5"),
        ];
        assert_eq!(read(200, &junk), read(200, &[]));
        let fixed = [("X-Ratelimit-Limit", "lots"), ("Ratelimit-Limit", "5")];
        assert_eq!(read(200, &fixed).limit, 5);
    }

    #[test]
    fn a_reset_is_a_number_or_a_date() {
        let at = datetime!(2026-03-01 12:02 UTC);
        for text in [
            "120",
            "1772366520",
            "1772366520000",
            "2026-03-01T12:02:00Z",
            "2026-03-01T13:02:00+01:00",
            "Sun, 01 Mar 2026 12:02:00 GMT",
            "Sunday, 01-Mar-26 12:02:00 GMT",
        ] {
            assert_eq!(reset(text), Some(at), "{text}");
        }
        assert_eq!(reset("-60"), Some(datetime!(2026-03-01 11:59 UTC)));
        // The boundaries between the three interpretations of a number.
        assert_eq!(reset("946080000"), NOW.checked_add(Duration::seconds(946_080_000)));
        assert_eq!(reset("946080001"), Some(datetime!(1999-12-25 00:00:01 UTC)));
        assert_eq!(reset("946080000001"), Some(datetime!(1999-12-25 00:00:00.001 UTC)));
        for text in
            ["1.5", "", "tomorrow", "9223372036854775807", "-9223372036854775808", "+99999-01-01T00:00:00Z"]
        {
            assert_eq!(reset(text), None, "{text}");
        }
    }

    #[test]
    fn too_many_requests_always_set_a_reset_time() {
        let hinted =
            read(429, &[("X-Ratelimit-Limit", "45"), ("X-Ratelimit-Remaining", "3"), ("Retry-After", "7")]);
        let expected = RateLimit {
            limit: 45,
            remaining: 0,
            reset_at: Some(datetime!(2026-03-01 12:00:07 UTC)),
            standing: Standing::Exceeded,
        };
        assert_eq!(hinted, expected);
        let assumed = RateLimit { limit: 1, reset_at: Some(datetime!(2026-03-01 12:01 UTC)), ..expected };
        assert_eq!(read(429, &[]), assumed);
    }
}
