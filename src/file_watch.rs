//! Files that are reloaded when they change, such as tokens and certificates.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;

/// A value that comes from files.
pub(crate) trait FileSource: Send + Sync + 'static {
    /// The value of the files.
    type Value: Send + Sync + 'static;
    /// The reason why the files are unusable.
    type Error: Send + 'static;

    /// The files to watch.
    fn files(&self) -> Vec<&Path>;

    /// Reads the files.
    ///
    /// # Errors
    /// The files are unusable.
    fn read(&self) -> Result<Self::Value, Self::Error>;

    /// Logs that this new value is in use.
    fn log_replaced(&self, value: &Self::Value);

    /// Logs that the changed files are unusable, so that the previous value stays.
    fn log_kept(&self, error: &Self::Error);
}

/// How often the files are checked. Polling works on every file system, and detects the symbolic links that
/// Kubernetes replaces.
const INTERVAL: Duration = Duration::from_secs(2);

/// The value of the files, replaced when one of them changes. Unusable files leave the value unchanged, with
/// one log line until they change again. Watching ends when the result is dropped.
///
/// # Errors
/// The files are unusable at the start.
pub(crate) fn watch<S: FileSource>(source: S) -> Result<Arc<ArcSwap<S::Value>>, S::Error> {
    let mut used = stamps(&source);
    let mut failed = used.clone();
    let current = Arc::new(ArcSwap::from_pointee(source.read()?));
    let watched = Arc::downgrade(&current);
    let source = Arc::new(source);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(current) = watched.upgrade() else { return };
            let (reader, known) = (Arc::clone(&source), used.clone());
            // On a thread of its own, because a file system can block.
            let changed = spawn_blocking(move || {
                let now = stamps(&*reader);
                (now != known && can_be_read_again(&*reader)).then(|| (reader.read(), now))
            });
            let Ok(Some((read, now))) = changed.await else { continue };
            match read {
                Ok(value) => {
                    let value = Arc::new(value);
                    current.store(Arc::clone(&value));
                    used = now;
                    source.log_replaced(&value);
                }
                // The files may be partly written: the next check reads them again.
                Err(error) if failed != now => {
                    source.log_kept(&error);
                    failed = now;
                }
                Err(_) => {}
            }
        }
    });
    Ok(current)
}

/// Whether no file is a pipe or a device. A pipe can be read only once, and waits for a writer after that.
fn can_be_read_again(source: &impl FileSource) -> bool {
    source.files().into_iter().all(|path| fs::metadata(path).map_or(true, |metadata| metadata.is_file()))
}

/// Identifies the state of a file: device and number, length, and the times of its last change of content and
/// of any kind. The latter time cannot be set, so a replacement with the same length and content time is also
/// detected. `None` if the metadata cannot be read.
type Stamp = Option<[i128; 5]>;

fn stamps(source: &impl FileSource) -> Vec<Stamp> {
    let stamp = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Some([
            metadata.dev().into(),
            metadata.ino().into(),
            metadata.len().into(),
            time(metadata.mtime(), metadata.mtime_nsec()),
            time(metadata.ctime(), metadata.ctime_nsec()),
        ])
    };
    source.files().into_iter().map(stamp).collect()
}
