//! The end of the program: an unresponsive collector delays it only for a short time.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::postgres::Database;
use crate::support::server::{Server, program};
use crate::support::wire::{Wire, eventually};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
/// Less than the five seconds for which the program waits for a collector.
const SOON: Duration = Duration::from_secs(4);

/// A collector that accepts connections and never answers, and the flags with its address.
fn silent() -> (TcpListener, [String; 2]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("--otel-collector-endpoint={}", listener.local_addr().unwrap());
    (listener, [endpoint, "--otel-collector-endpoint-tls-insecure".to_owned()])
}

#[test]
fn an_invalid_setting_ends_the_program_without_waiting_for_the_collector() {
    let (_listener, flags) = silent();
    // The machine may be busy for a while, so the fastest run counts.
    let fastest = (0..10).map(|_| {
        let begun = Instant::now();
        let output = program()
            .args(["serve", "--listen=127.0.0.1:0", "--connection-string", "postgres://["])
            .args(&flags)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let took = begun.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("connection-string"), "{said}");
        took
    });
    assert!(fastest.into_iter().any(|took| took < SOON), "no run took less than {SOON:?}");
}

#[test]
fn a_startup_failure_is_reported_before_waiting_for_the_collector() {
    let (_listener, flags) = silent();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = format!("--metrics-listen={}", taken.local_addr().unwrap());
    let mut child = program()
        .args(["serve", "--listen=127.0.0.1:0", "--connection-string", NOWHERE, &metrics])
        .args(flags)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("\"msg\":\"command failed\"")));
    let reported = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    // The wait of five seconds follows the report.
    assert!(reported.elapsed() > Duration::from_secs(2), "ended {:?} after the report", reported.elapsed());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_second_signal_ends_the_wait_for_the_collector() {
    let (_listener, flags) = silent();
    let server = Server::start_at(NOWHERE, &flags.each_ref().map(String::as_str));
    Wire::to(&server).await.metadata().await.unwrap();
    server.terminate();
    server.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.starts_with("stopping;")));
    // The thread that sends the last telemetry starts after the drain.
    eventually("the wait for the collector", async || {
        server.threads().iter().any(|name| name == "telemetry-flush").then_some(())
    })
    .await;
    let (status, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(logs.iter().any(|line| line.to_string().contains("did not wait for the collector")), "{logs:?}");
}

/// Stops the program with two signals during a call, and returns the time from the second one to its end.
async fn stopped_in_the_drain() -> Duration {
    let (_listener, flags) = silent();
    let database = Database::small().await;
    let server = Server::start(&database, &flags.each_ref().map(String::as_str));
    let wire = Wire::to(&server).await;
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE organizations").await.unwrap();
    let call = tokio::spawn(async move { wire.organizations().await });
    database.wait_until_blocked(1).await;
    server.terminate();
    server.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.starts_with("stopping;")));
    let begun = Instant::now();
    let (status, _) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(0));
    assert!(call.await.unwrap().is_err());
    took
}

#[tokio::test]
async fn a_second_signal_during_the_drain_skips_the_wait_for_the_collector() {
    // The machine may be busy for a while, so the fastest run counts.
    let mut quick = false;
    for _ in 0..5 {
        quick = quick || stopped_in_the_drain().await < SOON;
    }
    assert!(quick, "no run took less than {SOON:?}");
}
