//! Uploads the file of a task to ConductorOne in pieces, with a checksum at the end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::stream::poll_fn;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use crate::agent::service::api::{Api, ApiError};
use crate::numbers::log_seconds;
use crate::proto::connectorapi::BatonServiceUploadAssetRequest;
use crate::proto::connectorapi::baton_service_upload_asset_request::{
    Msg, UploadData, UploadEof, UploadMetadata,
};
use crate::telemetry::metrics;

/// The size of a piece in bytes; only the last piece is smaller.
const PIECE: usize = 512 * 1024;
/// How many pieces are read ahead of the upload.
const AHEAD: usize = 4;
/// The waits before the second and the third attempt after a rejection.
const RETRY_WAITS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(1)];
/// How long ConductorOne may take for a piece, or for its response after the last one.
const STALL: Duration = Duration::from_secs(10 * 60);
/// While the API is down: the first wait, the longest wait, and the time from the first failure to the start of
/// the last attempt.
const OUTAGE: (Duration, Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(10 * 60));

/// The reason why a file was not uploaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The file cannot be read.
    #[error("cannot read the file of the sync: {0}")]
    File(#[from] io::Error),
    /// ConductorOne rejected it.
    #[error("the upload failed: {0}")]
    Api(#[from] ApiError),
    /// ConductorOne answered before it had the whole file.
    #[error("the upload failed: ConductorOne ended it before it received the whole file")]
    Early,
}

/// Uploads a file as an asset of a task and returns its size in bytes. If ConductorOne rejects the upload or
/// stops taking it, makes up to three attempts; if it is unreachable, retries for ten minutes. Each attempt
/// starts from the first byte.
///
/// # Errors
/// [`UploadError`]
pub(super) async fn upload(api: &Api, task_id: &str, file: &File) -> Result<u64, UploadError> {
    let mut waits = Waits::new();
    loop {
        let error = match attempt(api, task_id, file).await {
            Ok(bytes) => {
                metrics::uploaded(bytes);
                return Ok(bytes);
            }
            Err(error) => error,
        };
        let Some(wait) = waits.after(&error) else { return Err(error) };
        tracing::warn!(task_id, %error, next_backoff = log_seconds(wait), "upload failed, retrying");
        sleep(wait).await;
    }
}

/// The waits before further attempts.
struct Waits {
    rejections: std::array::IntoIter<Duration, 2>,
    outages: ExponentialBackoff,
    /// When the last attempt after an outage may start; set by the first outage.
    last: Option<Instant>,
}

impl Waits {
    fn new() -> Self {
        let outages = ExponentialBuilder::default()
            .with_min_delay(OUTAGE.0)
            .with_max_delay(OUTAGE.1)
            .without_max_times()
            .with_jitter()
            .build();
        Self { rejections: RETRY_WAITS.into_iter(), outages, last: None }
    }

    /// The wait after an attempt that ended now; `None` after the last one.
    fn after(&mut self, error: &UploadError) -> Option<Duration> {
        match error {
            UploadError::File(_) => None,
            // A stalled upload has few retries: each attempt can take minutes or hours, and then stall again.
            UploadError::Api(ApiError::Silent(_)) => self.rejections.next(),
            UploadError::Api(error) if error.is_outage() => {
                let now = Instant::now();
                let last = *self.last.get_or_insert(now + OUTAGE.2);
                self.outages.next().filter(|wait| now + *wait <= last)
            }
            UploadError::Api(_) | UploadError::Early => self.rejections.next(),
        }
    }
}

async fn attempt(api: &Api, task_id: &str, file: &File) -> Result<u64, UploadError> {
    // The copy shares its position with the file, so it is only read at given positions.
    let file = file.try_clone()?;
    let (send, pieces) = mpsc::channel(AHEAD);
    let metadata =
        UploadMetadata { host_id: api.host_id(), task_id: task_id.to_owned(), annotations: Vec::new() };
    let over = CancellationToken::new();
    // Stops the reader at the end of the attempt, even if the connection still holds pieces.
    let _ends = over.clone().drop_guard();
    let pipe = Pipe { send, over: over.clone(), runtime: Handle::current() };
    let reading = tokio::task::spawn_blocking(move || read(&file, metadata, &pipe));
    let taken = Arc::new(Taken::default());
    let sent = tokio::select! {
        sent = api.upload(stream(pieces, Arc::clone(&taken))) => sent,
        error = taken.breaks() => return Err(error.into()),
        () = taken.stalls(STALL) => Err(ApiError::Silent(STALL)),
    };
    over.cancel();
    let bytes = reading.await.map_err(|error| io::Error::other(error.to_string()))?;
    match sent {
        Ok(()) if taken.all() => Ok(bytes),
        Ok(()) => Err(UploadError::Early),
        Err(error) => Err(error.into()),
    }
}

/// The stream of pieces. If the last piece is missing, the stream does not end, because its end would
/// complete the upload; the call is dropped instead.
fn stream(
    mut pieces: mpsc::Receiver<io::Result<BatonServiceUploadAssetRequest>>,
    taken: Arc<Taken>,
) -> impl Stream<Item = BatonServiceUploadAssetRequest> + Send + 'static {
    poll_fn(move |context| match pieces.poll_recv(context) {
        Poll::Ready(Some(Ok(piece))) => {
            taken.note(&piece);
            Poll::Ready(Some(piece))
        }
        Poll::Ready(Some(Err(error))) => {
            taken.broke(error);
            Poll::Pending
        }
        Poll::Ready(None) if taken.all() => Poll::Ready(None),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    })
}

/// The progress of an upload: the pieces that the connection has taken.
#[derive(Debug, Default)]
struct Taken {
    any: Notify,
    all: AtomicBool,
    /// The error that stopped the reading of the file.
    error: Mutex<Option<io::Error>>,
    broken: Notify,
}

impl Taken {
    fn note(&self, piece: &BatonServiceUploadAssetRequest) {
        if matches!(piece.msg, Some(Msg::Eof(_))) {
            self.all.store(true, Ordering::Relaxed);
        }
        self.any.notify_one();
    }

    /// Whether the last piece was taken.
    fn all(&self) -> bool {
        self.all.load(Ordering::Relaxed)
    }

    fn broke(&self, error: io::Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.broken.notify_one();
    }

    /// Waits until the file cannot be read further, and returns the error.
    async fn breaks(&self) -> io::Error {
        loop {
            self.broken.notified().await;
            if let Some(error) = self.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return error;
            }
        }
    }

    /// Waits until no piece has been taken for `limit`.
    async fn stalls(&self, limit: Duration) {
        while timeout(limit, self.any.notified()).await.is_ok() {}
    }
}

/// Sends the pieces of a file from a blocking thread.
struct Pipe {
    send: mpsc::Sender<io::Result<BatonServiceUploadAssetRequest>>,
    /// Cancelled when the receiver of the pieces is dropped.
    over: CancellationToken,
    runtime: Handle,
}

impl Pipe {
    /// Whether the piece was taken.
    fn put(&self, piece: io::Result<Msg>) -> bool {
        let piece = piece.map(|msg| BatonServiceUploadAssetRequest { msg: Some(msg) });
        self.runtime.block_on(async {
            tokio::select! {
                sent = self.send.send(piece) => sent.is_ok(),
                () = self.over.cancelled() => false,
            }
        })
    }
}

/// Reads a file into messages while they are taken, and returns the number of bytes read.
fn read(file: &File, metadata: UploadMetadata, pipe: &Pipe) -> u64 {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut going = pipe.put(Ok(Msg::Metadata(metadata)));
    while going {
        let data = match piece_at(file, bytes) {
            Ok(data) => data,
            Err(error) => {
                pipe.put(Err(error));
                break;
            }
        };
        if data.is_empty() {
            let sha256_checksum = hash.finalize().to_vec();
            pipe.put(Ok(Msg::Eof(UploadEof { sha256_checksum, annotations: Vec::new() })));
            break;
        }
        hash.update(&data);
        bytes += data.len() as u64;
        going = pipe.put(Ok(Msg::Data(UploadData { data })));
    }
    bytes
}

/// The piece that begins at this position; empty at the end of the file.
fn piece_at(file: &File, start: u64) -> io::Result<Vec<u8>> {
    let (mut data, mut filled) = (vec![0; PIECE], 0);
    while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, start + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    data.truncate(filled);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upload_without_progress_ends() {
        let taken = Arc::new(Taken::default());
        let noted = Arc::clone(&taken);
        let begun = tokio::time::Instant::now();
        tokio::spawn(async move {
            for _ in 0..3 {
                sleep(STALL - Duration::from_secs(1)).await;
                noted.note(&BatonServiceUploadAssetRequest::default());
            }
        });
        taken.stalls(STALL).await;
        assert_eq!(begun.elapsed(), 4 * STALL - Duration::from_secs(3));
        assert!(!taken.all());
        taken.note(&BatonServiceUploadAssetRequest { msg: Some(Msg::Eof(UploadEof::default())) });
        assert!(taken.all());
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_ten_minutes_after_the_first_outage_however_long_attempts_take() {
        let mut waits = Waits::new();
        let mut attempts = 1;
        // A long upload has a retry if its connection breaks.
        sleep(Duration::from_secs(60 * 60)).await;
        let begun = Instant::now();
        while let Some(wait) = waits.after(&ApiError::Unreachable("down".to_owned()).into()) {
            attempts += 1;
            sleep(wait + Duration::from_secs(4 * 60)).await;
        }
        assert_eq!(attempts, 4);
        assert!(begun.elapsed() < Duration::from_secs(15 * 60), "{:?}", begun.elapsed());
    }

    #[test]
    fn an_upload_that_stalls_has_three_attempts() {
        let mut waits = Waits::new();
        let stalled = ApiError::Silent(STALL).into();
        let after: Vec<_> = std::iter::from_fn(|| waits.after(&stalled)).collect();
        assert_eq!(after, RETRY_WAITS);
        assert_eq!(Waits::new().after(&io::Error::other("gone").into()), None);
    }

    #[tokio::test]
    async fn an_unreadable_file_does_not_end_the_stream_as_complete() {
        let taken = Arc::new(Taken::default());
        let (send, pieces) = mpsc::channel(AHEAD);
        let mut stream = Box::pin(stream(pieces, Arc::clone(&taken)));
        let sent = send.send(Err(io::ErrorKind::PermissionDenied.into())).await;
        assert!(sent.is_ok());
        drop(send);
        let ended = tokio::select! {
            biased;
            piece = stream.next() => Err(piece),
            error = taken.breaks() => Ok(error.kind()),
        };
        assert_eq!(ended, Ok(io::ErrorKind::PermissionDenied));
        assert!(!taken.all());
    }
}
