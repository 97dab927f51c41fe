#![allow(clippy::unwrap_used)]

mod changes;
mod queries;
mod recorder;
mod tickets;

use prost::Message;
use prost_types::{Any, Timestamp};
use tonic::transport::Channel;

use crate::agent::service::outcome::Outcome;
use crate::proto::connector::{EncryptionConfig, ResourceId};
use recorder::Recorder;

/// Runs a task whose only call is answered with this response, and returns the request and the result.
async fn exchanged<Q: Message + Default>(
    method: &str,
    response: &impl Message,
    run: impl AsyncFnOnce(&Channel) -> Outcome,
) -> (Q, Outcome) {
    let connector = Recorder::default().and(response);
    let outcome = run(&connector.channel().await).await;
    let mut requests = connector.requests(method);
    assert_eq!(requests.len(), 1);
    (requests.remove(0), outcome)
}

fn note(name: &str) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: vec![1] }
}

fn id(resource_type: &str, resource: &str) -> ResourceId {
    ResourceId {
        resource_type: resource_type.to_owned(),
        resource: resource.to_owned(),
        ..Default::default()
    }
}

fn keys() -> Vec<EncryptionConfig> {
    ["k1", "k2"].map(|key| EncryptionConfig { key_id: key.to_owned(), ..Default::default() }).to_vec()
}

const TIME: Timestamp = Timestamp { seconds: 1_800_000_000, nanos: 7 };
