//! The longest duration of a call.

use std::time::Duration;

use http::HeaderMap;
use tonic::Status;

use crate::numbers;
use crate::proto::log_text::logged_in_full;

/// The status of a call that exceeded its deadline.
pub(crate) fn deadline_exceeded(timeout: Duration) -> Status {
    logged_in_full(Status::deadline_exceeded(format!(
        "the call took longer than {}: its own deadline or --request-timeout-seconds, \
         whichever is shorter",
        numbers::duration(timeout)
    )))
}

/// The timeout that the client requests, in the format of gRPC: up to eight digits and a unit.
pub(crate) fn requested_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.checked_mul(3600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}
