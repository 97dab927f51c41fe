#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::connector::snapshots::allowance::{AT_ONCE, EVERY};
use crate::retool::snapshot::of_users;

/// Snapshots of `users` users each, and the number of reads.
fn snapshots(users: u32, most_bytes: usize) -> (Snapshots, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let reader: Reader = Box::new(move |most_bytes| {
        let counted = Arc::clone(&counted);
        async move {
            let snapshot = of_users(users);
            if snapshot.peak_bytes() > most_bytes {
                return Err(ReadError::TooLarge { most_bytes });
            }
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(snapshot)
        }
        .boxed()
    });
    (Snapshots::new(reader, most_bytes), reads)
}

async fn has_one(snapshots: &Snapshots, sync: &str) -> bool {
    matches!(snapshots.source(sync).await.unwrap(), Source::Snapshot(_))
}

fn held(snapshots: &Snapshots) -> SnapshotState {
    snapshots.0.metrics()
}

#[tokio::test(start_paused = true)]
async fn a_sync_has_one_snapshot_until_it_ends() {
    let (snapshots, reads) = snapshots(10, 1 << 20);
    for _ in 0..3 {
        assert!(has_one(&snapshots, "a").await && has_one(&snapshots, "b").await);
    }
    assert_eq!((reads.load(Ordering::Relaxed), held(&snapshots).count), (2, 2));
    assert!(!has_one(&snapshots, "").await);
    snapshots.end("a");
    assert_eq!(held(&snapshots).count, 1);
    assert!(has_one(&snapshots, "a").await);
    assert_eq!(reads.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn drops_an_unused_snapshot_automatically() {
    let (snapshots, _) = snapshots(10, 1 << 20);
    assert!(has_one(&snapshots, "a").await);
    tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
    assert!(has_one(&snapshots, "a").await);
    tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
    assert_eq!(held(&snapshots).count, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(held(&snapshots), SnapshotState::default());
    // The watcher starts again for another snapshot.
    assert!(has_one(&snapshots, "b").await);
    tokio::time::sleep(IDLE + Duration::from_secs(1)).await;
    assert_eq!(held(&snapshots).count, 0);
}

#[tokio::test(start_paused = true)]
async fn syncs_share_the_memory_and_a_snapshot_in_use_is_not_replaced() {
    let one = of_users(1000).peak_bytes();
    let (snapshots, _) = snapshots(1000, one + one / 10);
    assert!(has_one(&snapshots, "a").await);
    assert!(!has_one(&snapshots, "b").await);
    assert!(has_one(&snapshots, "a").await);
    // Statements serve b until a was unused for a minute.
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert!(has_one(&snapshots, "b").await);
    assert_eq!(held(&snapshots).count, 1);
    assert!(held(&snapshots).bytes <= (one + one / 10) as u64);
}

#[tokio::test(start_paused = true)]
async fn does_not_retry_a_snapshot_that_never_fits() {
    let (snapshots, reads) = snapshots(1000, 100);
    for name in ["a", "b", "a", "c"] {
        assert!(!has_one(&snapshots, name).await);
    }
    assert_eq!(reads.load(Ordering::Relaxed), 0);
    assert_eq!(snapshots.0.state().allowance.left(), AT_ONCE - 1);
}

#[tokio::test(start_paused = true)]
async fn many_syncs_cause_few_reads_and_few_snapshots() {
    let (snapshots, reads) = snapshots(10, 1 << 20);
    for number in 0..1000 {
        has_one(&snapshots, &format!("{number}")).await;
    }
    assert_eq!(reads.load(Ordering::Relaxed), AT_ONCE as usize);
    for number in 1000..1100 {
        tokio::time::sleep(EVERY).await;
        assert!(has_one(&snapshots, "0").await, "one in use is kept");
        has_one(&snapshots, &format!("{number}")).await;
    }
    assert!(held(&snapshots).count <= MAX_HELD as u64);
    assert!(snapshots.0.state().readings.len() <= 1);
}

#[tokio::test(start_paused = true)]
async fn does_not_immediately_retry_a_read_that_outlasts_its_callers() {
    let reader: Reader = Box::new(|_| std::future::pending().boxed());
    let snapshots = Snapshots::new(reader, 1 << 20);
    let wait = SLOW + Duration::from_secs(1);
    assert!(tokio::time::timeout(wait, snapshots.source("a")).await.is_err());
    assert!(!has_one(&snapshots, "a").await);
    tokio::time::sleep(PAUSE).await;
    // A caller that waits long enough gets an answer anyway.
    let began = Instant::now();
    assert!(!has_one(&snapshots, "a").await);
    assert!(began.elapsed() >= READ_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_database_is_an_error_and_is_retried() {
    let reader: Reader = Box::new(|_| {
        let reason = "the server went away".into();
        let error = DatabaseError::from(PostgresError::Interrupted { reason, session_lost: true });
        std::future::ready(Err(ReadError::from(error))).boxed()
    });
    let snapshots = Snapshots::new(reader, 1 << 20);
    for _ in 0..AT_ONCE {
        assert!(snapshots.source("a").await.is_err());
    }
    assert!(!has_one(&snapshots, "a").await);
}
