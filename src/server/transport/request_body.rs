//! Waits for the message of a call before the call takes any shared resource.

use std::cmp::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http::response::Parts;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::numbers;
use crate::proto::log_text::logged_in_full;
use crate::server::transport::quota::{Full as NoRoom, Hold};

/// Bytes before a message: the compression flag and the length.
const HEAD: usize = 5;
/// The longest time for a whole message, as a multiple of the longest pause between two pieces. A message
/// that is sent byte by byte holds memory that others need.
const WHOLE: u32 = 3;

/// Reads the body of a request with its single message, and returns it with the bytes that it holds. A
/// message longer than `most` bytes is returned unread: its reader refuses it by its first bytes.
///
/// # Errors
/// - `Cancelled`: the caller cancels, or ends the body before the message ends.
/// - `DeadlineExceeded`: no data arrives for `max_wait`, or the message takes more than three times
///   `max_wait`.
/// - `Unavailable`: there is no capacity for the bytes.
/// - `ResourceExhausted`: the body is much longer than one message.
/// - `InvalidArgument`: the body is not exactly one message. The reader would return `Internal`, which means
///   a bug in this program.
pub(super) async fn whole(
    headers: &HeaderMap,
    mut body: Body,
    most: usize,
    max_wait: Duration,
    mut hold: Hold,
) -> Result<(Body, Hold), Status> {
    let due = Instant::now() + WHOLE * max_wait;
    let mut first = Bytes::new();
    let mut gathered = BytesMut::new();
    while let Some(piece) = next(&mut body, max_wait, due).await? {
        hold.add(piece.len()).map_err(no_room)?;
        if first.is_empty() && gathered.is_empty() {
            first = piece;
        } else {
            if gathered.is_empty() {
                // Reserves all memory at once, because the message starts with its length.
                gathered.reserve(HEAD + announced(&first).unwrap_or_default().min(most));
                gathered.extend_from_slice(&std::mem::take(&mut first));
            }
            gathered.extend_from_slice(&piece);
        }
        let so_far = if gathered.is_empty() { &first[..] } else { &gathered[..] };
        if announced(so_far).is_some_and(|length| length > most) {
            break;
        }
        if so_far.len() > HEAD + most {
            return Err(logged_in_full(Status::resource_exhausted(format!(
                "the request has more than one message of at most {most} bytes"
            ))));
        }
    }
    let message = if gathered.is_empty() { first } else { gathered.freeze() };
    check(&message, most, is_encoded(headers))?;
    Ok((Body::new(Full::new(message)), hold))
}

/// Whether the headers name an encoding for compressed messages.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get("grpc-encoding").is_some_and(|encoding| encoding != "identity")
}

/// Checks that these bytes are one message, or begin one that is too long.
fn check(body: &[u8], most: usize, is_encoded: bool) -> Result<(), Status> {
    let invalid = |problem: &str| Err(logged_in_full(Status::invalid_argument(problem)));
    match body.first() {
        None => return invalid("the request has no message"),
        Some(0) => {}
        Some(1) if is_encoded => {}
        Some(1) => return invalid("the message is compressed, but grpc-encoding names no encoding"),
        Some(_) => return invalid("the first byte of the message, its compression flag, must be 0 or 1"),
    }
    let length = announced(body);
    match length.map(|length| (length > most, body.len().cmp(&(HEAD + length)))) {
        Some((true, _) | (false, Ordering::Equal)) => Ok(()),
        Some((false, Ordering::Greater)) => invalid("the request has more than one message"),
        Some((false, Ordering::Less)) | None => Err(logged_in_full(Status::cancelled(
            "the caller ended the request before the end of its message",
        ))),
    }
}

/// Replaces the `Internal` of tonic for a message that cannot be decompressed by `InvalidArgument`: it is a
/// fault of the caller.
pub(super) fn undecodable_as_invalid(answer: &mut Parts) {
    let is_undecodable = Status::from_header_map(&answer.headers).is_some_and(|status| {
        status.code() == Code::Internal && status.message().starts_with("Error decompressing: ")
    });
    if !is_undecodable {
        return;
    }
    let refusal =
        logged_in_full(Status::invalid_argument("the message of the request cannot be decompressed"));
    if refusal.add_header(&mut answer.headers).is_ok() {
        answer.extensions.insert(refusal);
    }
}

/// The next non-empty piece; `None` at the end.
async fn next(body: &mut Body, max_wait: Duration, due: Instant) -> Result<Option<Bytes>, Status> {
    // Empty pieces are no progress.
    let piece = async {
        while let Some(frame) = body.frame().await {
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) if data.has_remaining() => return Ok(Some(data)),
                Ok(_) => {}
                // A refusal by the previous layer.
                Err(refusal) if matches!(refusal.code(), Code::ResourceExhausted | Code::Unavailable) => {
                    return Err(refusal);
                }
                Err(_) => return Err(logged_in_full(Status::cancelled("the caller cancelled the call"))),
            }
        }
        Ok(None)
    };
    timeout_at(due.min(Instant::now() + max_wait), piece).await.unwrap_or_else(|_| {
        Err(logged_in_full(Status::deadline_exceeded(format!(
            "no data of the request's message arrived for {} s (--stall-timeout-seconds), or not all of it within {} s",
            max_wait.as_secs(),
            (WHOLE * max_wait).as_secs()
        ))))
    })
}

/// The length of the message, once its head has arrived.
fn announced(body: &[u8]) -> Option<usize> {
    let length = body.get(1..HEAD)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length)).ok()
}

fn no_room(full: NoRoom) -> Status {
    logged_in_full(Status::unavailable(format!(
        "requests in progress fill the {} allowed for {}; retry later",
        numbers::size(full.most),
        full.whose
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::server::transport::quota::{Quota, Shares, Who};
    use http_body::Frame;
    use http_body_util::StreamBody;

    const SOON: Duration = Duration::from_secs(5);

    fn body(pieces: &[&'static [u8]]) -> Body {
        let frames: Vec<Result<_, Status>> =
            pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))).collect();
        Body::new(StreamBody::new(tokio_stream::iter(frames)))
    }

    fn hold() -> Hold {
        Quota::new(Shares::of(64)).open(Who::default())
    }

    async fn read(body: Body, most: usize) -> Result<Bytes, Status> {
        let (body, _hold) = whole(&HeaderMap::new(), body, most, SOON, hold()).await?;
        Ok(body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn pieces_become_one_message() {
        let pieces: &[&[u8]] = &[&[0, 0], &[], &[0, 0, 3, 7], &[8, 9]];
        assert_eq!(read(body(pieces), 16).await.unwrap(), [0, 0, 0, 0, 3, 7, 8, 9].as_slice());
        assert_eq!(read(body(&[&[0, 0, 0, 0, 0]]), 16).await.unwrap(), [0; 5].as_slice());
    }

    #[tokio::test]
    async fn anything_but_one_message_is_a_fault_of_the_caller() {
        let cases: [(&[&[u8]], Code); 8] = [
            (&[], Code::InvalidArgument),
            (&[&[]], Code::InvalidArgument),
            (&[&[7, 0, 0, 0, 0]], Code::InvalidArgument),
            (&[&[7, 0, 0, 0, 17]], Code::InvalidArgument),
            (&[&[1, 0, 0, 0, 1, 2]], Code::InvalidArgument),
            (&[&[0, 0, 0, 0, 0], &[0]], Code::InvalidArgument),
            (&[&[0, 0]], Code::Cancelled),
            (&[&[0, 0, 0, 0, 3, 1], &[2]], Code::Cancelled),
        ];
        for (pieces, code) in cases {
            assert_eq!(read(body(pieces), 16).await.unwrap_err().code(), code, "{pieces:?}");
        }
        let mut headers = HeaderMap::new();
        for (encoding, is_read) in [("gzip", true), ("identity", false)] {
            headers.insert("grpc-encoding", encoding.parse().unwrap());
            let read = whole(&headers, body(&[&[1, 0, 0, 0, 1, 2]]), 16, SOON, hold()).await;
            assert_eq!(read.is_ok(), is_read, "{encoding}");
        }
    }

    #[tokio::test]
    async fn does_not_wait_for_a_message_over_the_limit() {
        let endless = StreamBody::new(tokio_stream::StreamExt::chain(
            tokio_stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 17])))]),
            tokio_stream::pending(),
        ));
        assert_eq!(read(Body::new(endless), 16).await.unwrap(), [0, 0, 0, 0, 17].as_slice());
    }

    #[tokio::test]
    async fn rejects_a_second_message_and_bytes_over_the_share() {
        let long: &[u8] = &[0; 25];
        assert_eq!(
            read(body(&[&[0, 0, 0, 0, 1], long]), 16).await.unwrap_err().code(),
            Code::ResourceExhausted
        );
        let long: &[u8] = &[0; 40];
        assert_eq!(read(body(&[long]), 60).await.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_message_times_out() {
        let pending = Body::new(StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Status>>()));
        assert_eq!(read(pending, 16).await.unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_sent_byte_by_byte_times_out() {
        let begun = Instant::now();
        let bytes = tokio_stream::StreamExt::then(tokio_stream::iter([0_u8; 1000]), |byte| async move {
            tokio::time::sleep(SOON / 2).await;
            Ok::<_, Status>(Frame::data(Bytes::from(vec![byte])))
        });
        let refused = read(Body::new(StreamBody::new(bytes)), 2000).await.unwrap_err();
        assert_eq!(refused.code(), Code::DeadlineExceeded);
        assert_eq!(begun.elapsed(), WHOLE * SOON);
    }
}
