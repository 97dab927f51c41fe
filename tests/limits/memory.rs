//! The memory of a burst of large requests and answers is returned to the system.

use crate::support::client::named;
use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;
use crate::support::wire::{Wire, eventually};

const MIB: u64 = 1024 * 1024;
/// The number of callers in the burst.
const CALLERS: usize = 64;
/// The most memory of the burst that may stay allocated.
const KEPT: u64 = 8 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_returned_after_a_burst() {
    let database = Database::seeded(Sizes::SEVERAL_PAGES).await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    wire.organizations().await.unwrap();
    let Some(before) = server.data_memory() else { return };
    // On a busy machine, few calls of a burst overlap.
    let peak = eventually("a burst that takes memory", async || {
        let mut callers = Vec::new();
        for number in 0..CALLERS {
            // Each caller has its own connection, closed at the end.
            let wire = Wire::to(&server).await;
            callers.push(tokio::spawn(async move {
                for _ in 0..3 {
                    let _ = wire.grants(named("page", &format!("p{}", number % 20 + 1)), 0, "").await;
                    let _ = wire.resources("org", None, 0, &"x".repeat(1_000_000)).await;
                }
            }));
        }
        for caller in callers {
            caller.await.unwrap();
        }
        server.peak_data_memory().filter(|peak| *peak > before + 2 * KEPT)
    })
    .await;
    let after = eventually("memory given back", async || {
        // An allocator returns memory only when it is used.
        wire.organizations().await.unwrap();
        server.data_memory().filter(|now| *now < before + KEPT)
    })
    .await;
    eprintln!("memory in MiB: {} before, {} at the most, {} after", before / MIB, peak / MIB, after / MIB);
}
