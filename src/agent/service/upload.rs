//! Sends the file of a task to ConductorOne, in pieces with a checksum at the end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;

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
        let error = match attempt(api, task_id, path).await {
            Ok(bytes) => {
                metrics::uploaded(bytes);
                return Ok(bytes);
            }
            Err(UploadError::Api(error)) => error,
            Err(error) => return Err(error),
        };
        let wait = if error.is_outage() { outages.next() } else { refusals.next() };
        let Some(wait) = wait else { return Err(error.into()) };
        tracing::warn!(task_id, %error, next_backoff = wait.as_secs_f64(), "upload failed, retrying");
        sleep(wait).await;
    }
}

async fn attempt(api: &Api, task_id: &str, path: &Path) -> Result<u64, UploadError> {
    let file = File::open(path)?;
    let (send, pieces) = mpsc::channel(AHEAD);
    let metadata =
        UploadMetadata { host_id: api.host_id(), task_id: task_id.to_owned(), annotations: Vec::new() };
    let reading = tokio::task::spawn_blocking(move || read(file, metadata, &send));
    let sent = api.upload(ReceiverStream::new(pieces)).await;
    // The reader ends when the upload does: nobody takes its pieces any more.
    let read = reading.await.map_err(|error| io::Error::other(error.to_string()))?;
    match (sent, read) {
        // What broke the stream off is the file.
        (_, Err(error)) => Err(error.into()),
        (Err(error), Ok(_)) => Err(error.into()),
        (Ok(()), Ok(bytes)) => Ok(bytes),
    }
}

/// Reads a file into messages, as far as somebody takes them, and gives how many bytes were read.
fn read(
    mut file: File,
    metadata: UploadMetadata,
    send: &mpsc::Sender<BatonServiceUploadAssetRequest>,
) -> io::Result<u64> {
    let put = |message| send.blocking_send(BatonServiceUploadAssetRequest { msg: Some(message) }).is_ok();
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut going = put(Msg::Metadata(metadata));
    while going {
        let mut data = Vec::with_capacity(PIECE);
        (&mut file).take(PIECE as u64).read_to_end(&mut data)?;
        if data.is_empty() {
            let sha256_checksum = hash.finalize().to_vec();
            put(Msg::Eof(UploadEof { sha256_checksum, annotations: Vec::new() }));
            break;
        }
        hash.update(&data);
        bytes += data.len() as u64;
        going = put(Msg::Data(UploadData { data }));
    }
    Ok(bytes)
}
