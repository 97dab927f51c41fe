//! The state of the server in the gRPC health service: one status for the whole server and one for each
//! service.

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::server::services;

/// Largest request in bytes. It contains the name of a service.
pub(crate) const LARGEST_REQUEST: usize = 4096;

/// Sets the status of the whole server and of each registered service.
pub(crate) async fn set_status(health: &HealthReporter, status: ServingStatus) {
    for service in names() {
        health.set_service_status(service, status).await;
    }
}

/// Ends the calls that watch the health status.
pub(crate) async fn end_watches(health: &HealthReporter) {
    let mut health = health.clone();
    for service in names() {
        health.clear_service_status(&service).await;
    }
}

/// The empty name means the whole server.
fn names() -> impl Iterator<Item = String> {
    std::iter::once(String::new()).chain(services::names())
}
