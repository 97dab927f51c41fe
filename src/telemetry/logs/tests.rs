use std::sync::Arc;

use crate::telemetry::logs::queue::Queue;

/// A queue whose writer never comes to anything, as with a reader that stalls.
#[test]
fn a_queue_that_nobody_empties_drops_lines_and_keeps_room_for_records() {
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
fn few_wait_for_a_queue_that_nobody_empties() {
    let queue = Queue::new();
    let waiter = Arc::new(());
    for _ in 0..5_000 {
        let waiting = Arc::clone(&waiter);
        queue.when_written(move || drop(waiting));
    }
    assert_eq!(Arc::strong_count(&waiter), 1 + 1024);
}
