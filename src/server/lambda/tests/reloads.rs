//! How often the function reloads its configuration.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::time::advance;

use crate::proto::connector::ConnectorServiceGetMetadataResponse;
use crate::server::InMemory;
use crate::server::lambda::function::{Configurations, Generation};
use crate::server::lambda::runtime::outcome;
use crate::server::lambda::tests::function::{
    answer, answering, event, function_of, generation, invocation, written,
};

/// Serves another version than the requested one, and notes the requests.
#[derive(Clone, Default)]
struct Another(Arc<Mutex<Vec<String>>>);

impl Configurations for Another {
    async fn generation(&self, version: &str) -> Result<Generation, String> {
        self.0.lock().unwrap().push(version.to_owned());
        Ok(generation("another", services()))
    }
}

fn services() -> InMemory {
    let message = ConnectorServiceGetMetadataResponse::default();
    answering(move || answer(&message, &[("grpc-status", "0")]), &Arc::default())
}

#[tokio::test(start_paused = true)]
async fn reloads_at_most_once_a_second_and_every_five_seconds_for_the_same_version() {
    let configurations = Another::default();
    let (mut function, token) = function_of(generation("cv-1", services()), configurations.clone());
    // Milliseconds since the previous event, the expected version, and whether it is requested.
    for (number, (pause, version, is_requested)) in [
        (0, "a", true),
        (900, "a", false),
        (200, "a", false),
        (3_800, "a", false),
        (200, "a", true),
        (900, "b", false),
        (200, "b", true),
        (1_100, "a", true),
    ]
    .into_iter()
    .enumerate()
    {
        advance(Duration::from_millis(pause)).await;
        let mut event = event(&token);
        event["headers"]["x-baton-connector-config-version"] = json!([version]);
        let before = configurations.0.lock().unwrap().len();
        let reply = written(outcome(&mut function, &invocation(&event)).await);
        assert_eq!(reply["status"]["message"], "OK");
        let requested = configurations.0.lock().unwrap()[before..].to_vec();
        let expected: &[&str] = if is_requested { &[version] } else { &[] };
        assert_eq!(requested, expected, "event {number}");
    }
}
