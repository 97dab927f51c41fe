use std::sync::Arc;

use crate::telemetry::logs::queue::Queue;

/// The queue has no writer, which is like a reader that has stalled.
#[test]
fn a_full_queue_drops_lines_and_keeps_space_for_records() {
    let queue = Queue::new();
    let line: Arc<[u8]> = vec![b'x'; 64 * 1024].into();
    for _ in 0..100 {
        queue.push(Arc::clone(&line), false);
    }
    assert!(queue.waiting() <= 2 * 1024 * 1024, "{}", queue.waiting());
    let full = queue.waiting();
    queue.push(Arc::clone(&line), true);
    assert_eq!((queue.waiting(), queue.lost_records()), (full + line.len(), 0));
    for _ in 0..100 {
        queue.push(Arc::clone(&line), true);
    }
    assert!(queue.waiting() <= 4 * 1024 * 1024, "{}", queue.waiting());
    assert!(queue.lost_records() > 0);
}

#[test]
fn limits_the_waiters_of_a_stalled_queue() {
    let queue = Queue::new();
    let waiter = Arc::new(());
    for _ in 0..5_000 {
        let waiting = Arc::clone(&waiter);
        queue.when_written(move || drop(waiting));
    }
    assert_eq!(Arc::strong_count(&waiter), 1 + 1024);
}
