//! Sends the file of a task to ConductorOne, in pieces with a checksum at the end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::agent::service::api::{Api, ApiError};
use crate::proto::connectorapi::BatonServiceUploadAssetRequest;
use crate::proto::connectorapi::baton_service_upload_asset_request::{
    Msg, UploadData, UploadEof, UploadMetadata,
};
use crate::telemetry::metrics;

/// How many bytes a piece has, except the last.
const PIECE: usize = 512 * 1024;
/// How many pieces are read ahead of what is sent.
const AHEAD: usize = 4;
/// The waits before the second and the third attempt after a refusal.
const AGAIN: [Duration; 2] = [Duration::ZERO, Duration::from_secs(1)];
/// How long ConductorOne may take for a piece, or for its answer after the last one.
const STALL: Duration = Duration::from_secs(10 * 60);
/// While the API is not there: the first wait, the longest, and how long the waits may be together.
const OUTAGE: (Duration, Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(10 * 60));

/// Why a file was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The file cannot be read.
    #[error("the file of the sync cannot be read: {0}")]
    File(#[from] io::Error),
    /// ConductorOne does not take it.
    #[error("the upload failed: {0}")]
    Api(#[from] ApiError),
    /// ConductorOne answered too early.
    #[error("the upload failed: ConductorOne ended it before it had the whole file")]
    Early,
}

/// Sends a file as an asset of a task, and gives its size in bytes. An attempt that ConductorOne refuses is made
/// three times; one that does not reach it, for ten minutes. Each begins with the first byte.
///
/// # Errors
/// [`UploadError`]
pub(super) async fn upload(api: &Api, task_id: &str, path: &Path) -> Result<u64, UploadError> {
    let mut refusals = AGAIN.into_iter();
    let mut outages = ExponentialBuilder::default()
        .with_min_delay(OUTAGE.0)
        .with_max_delay(OUTAGE.1)
        .with_total_delay(Some(OUTAGE.2))
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        let (error, wait) = match attempt(api, task_id, path).await {
            Ok(bytes) => {
                metrics::uploaded(bytes);
                return Ok(bytes);
            }
            Err(error @ UploadError::File(_)) => return Err(error),
            Err(UploadError::Api(error)) if error.is_outage() => (error.into(), outages.next()),
            Err(error) => (error, refusals.next()),
        };
        let Some(wait) = wait else { return Err(error) };
        tracing::warn!(task_id, %error, next_backoff = wait.as_secs_f64(), "upload failed, retrying");
        sleep(wait).await;
    }
}

async fn attempt(api: &Api, task_id: &str, path: &Path) -> Result<u64, UploadError> {
    let file = File::open(path)?;
    let (send, pieces) = mpsc::channel(AHEAD);
    let metadata =
        UploadMetadata { host_id: api.host_id(), task_id: task_id.to_owned(), annotations: Vec::new() };
    let over = CancellationToken::new();
    // Whatever ends the attempt ends the reader, even where the connection keeps the pieces that it has.
    let _ends = over.clone().drop_guard();
    let pipe = Pipe { send, over: over.clone(), runtime: Handle::current() };
    let reading = tokio::task::spawn_blocking(move || read(file, metadata, &pipe));
    let taken = Arc::new(Taken::default());
    let noted = Arc::clone(&taken);
    let pieces = ReceiverStream::new(pieces).inspect(move |piece| noted.note(piece));
    let sent = tokio::select! {
        sent = api.upload(pieces) => sent,
        () = taken.stalls(STALL) => Err(ApiError::Silent(STALL)),
    };
    over.cancel();
    let read = reading.await.map_err(|error| io::Error::other(error.to_string()))?;
    match (sent, read) {
        // What broke the stream off is the file.
        (_, Err(error)) => Err(error.into()),
        (Err(error), Ok(_)) => Err(error.into()),
        (Ok(()), Ok(_)) if !taken.all() => Err(UploadError::Early),
        (Ok(()), Ok(bytes)) => Ok(bytes),
    }
}

/// What the connection has taken of an upload.
#[derive(Debug, Default)]
struct Taken {
    any: Notify,
    all: AtomicBool,
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

    /// Ends when no piece has been taken for so long.
    async fn stalls(&self, limit: Duration) {
        while timeout(limit, self.any.notified()).await.is_ok() {}
    }
}

/// Where the pieces of a file go, from a thread that may wait.
struct Pipe {
    send: mpsc::Sender<BatonServiceUploadAssetRequest>,
    /// Cancelled when nobody takes pieces any more.
    over: CancellationToken,
    runtime: Handle,
}

impl Pipe {
    /// Whether the piece was taken.
    fn put(&self, message: Msg) -> bool {
        let sending = self.send.send(BatonServiceUploadAssetRequest { msg: Some(message) });
        self.runtime.block_on(async {
            tokio::select! {
                sent = sending => sent.is_ok(),
                () = self.over.cancelled() => false,
            }
        })
    }
}

/// Reads a file into messages, as far as somebody takes them, and gives how many bytes were read.
fn read(mut file: File, metadata: UploadMetadata, pipe: &Pipe) -> io::Result<u64> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut going = pipe.put(Msg::Metadata(metadata));
    while going {
        let mut data = Vec::with_capacity(PIECE);
        (&mut file).take(PIECE as u64).read_to_end(&mut data)?;
        if data.is_empty() {
            let sha256_checksum = hash.finalize().to_vec();
            pipe.put(Msg::Eof(UploadEof { sha256_checksum, annotations: Vec::new() }));
            break;
        }
        hash.update(&data);
        bytes += data.len() as u64;
        going = pipe.put(Msg::Data(UploadData { data }));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
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
}
