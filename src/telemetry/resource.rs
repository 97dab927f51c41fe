//! The attributes that say which program and instance telemetry comes from.

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;

/// The former program's name in telemetry, so that what is built on it goes on.
const SERVICE_NAME: &str = "baton-retool-server";

/// What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say, and ours for what they leave out.
pub(super) fn detect() -> Resource {
    let given = Resource::builder().build();
    let has = |name: &'static str| given.get(&Key::new(name)).is_some();
    // The library has a name of its own for services without one.
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
    // Tells replicas, and a process from the one before it: their counters are not one.
    if !has("service.instance.id") {
        own.push(KeyValue::new("service.instance.id", format!("{:032x}", rand::random::<u128>())));
    }
    Resource::builder().with_attributes(own).build()
}
