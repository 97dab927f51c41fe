//! The attributes of the program and instance that telemetry comes from.

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;

/// The name of the Go connector in telemetry, so that existing dashboards and alerts continue to work.
const SERVICE_NAME: &str = "baton-retool-server";

/// The attributes in `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, and defaults for missing attributes.
pub(super) fn detect() -> Resource {
    let given = Resource::builder().build();
    let has = |name: &'static str| given.get(&Key::new(name)).is_some();
    // The library sets a default name for services without one.
    let named = given
        .get(&Key::new("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut own = Vec::new();
    if !named {
        own.push(KeyValue::new("service.name", SERVICE_NAME));
    }
    if !has("service.version") {
        own.push(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    // Distinguishes replicas, and a process from its predecessor: each has its own counters.
    if !has("service.instance.id") {
        own.push(KeyValue::new("service.instance.id", format!("{:032x}", rand::random::<u128>())));
    }
    Resource::builder().with_attributes(own).build()
}
