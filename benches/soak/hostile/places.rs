//! Callers that occupy resources and do not release them: connections, calls, answers, log lines.

use std::future::pending;
use std::net::SocketAddr;

use baton_retool::proto::connector::{GrantsServiceListGrantsRequest, Resource, ResourceId};
use prost::bytes::Bytes;
use tokio::io::AsyncWriteExt;

use crate::hostile::{Attack, Kind, connect, raw};
use crate::raw::{GREETING, framed};

pub(super) const KINDS: [Kind; 5] = [
    Kind { name: "messages that do not come", callers: 2, attack: half_messages },
    Kind { name: "answers that nobody takes", callers: 2, attack: unread_answers },
    Kind { name: "watches of the health", callers: 2, attack: watches },
    Kind { name: "idle connections", callers: 2, attack: idle_connections },
    Kind { name: "calls that there are not", callers: 1, attack: unknown_calls },
];

/// How many items one attack creates.
const MANY: usize = 50;
const GET_METADATA: &str = "c1.connector.v2.ConnectorService/GetMetadata";
const LIST_GRANTS: &str = "c1.connector.v2.GrantsService/ListGrants";

fn half_messages(server: SocketAddr) -> Attack {
    Box::pin(async move {
        let Some(raw) = raw(server).await else { return };
        let mut bodies = Vec::new();
        for _ in 0..MANY {
            let (body, ending) = raw.slowly(GET_METADATA);
            tokio::spawn(ending);
            // This announces a message of 1,000 bytes.
            if body.send(Bytes::from_static(&[0, 0, 0, 3, 232, 8])).await.is_err() {
                return;
            }
            bodies.push(body);
        }
        pending().await
    })
}

fn unread_answers(server: SocketAddr) -> Attack {
    Box::pin(async move {
        let Some(raw) = raw(server).await else { return };
        let id = |kind: &str, resource: &str| ResourceId {
            resource_type: kind.to_owned(),
            resource: resource.to_owned(),
            ..Default::default()
        };
        let on = Resource {
            id: Some(id("page", "p1")),
            parent_resource_id: Some(id("org", "o1")),
            ..Default::default()
        };
        let request = GrantsServiceListGrantsRequest { resource: Some(on), ..Default::default() };
        let mut answers = Vec::new();
        for _ in 0..MANY {
            match raw.unread(LIST_GRANTS, &request).await {
                Ok(answer) => answers.push(answer),
                Err(_) => return,
            }
        }
        pending().await
    })
}

fn watches(server: SocketAddr) -> Attack {
    Box::pin(async move {
        let Some(raw) = raw(server).await else { return };
        let mut answers = Vec::new();
        for _ in 0..MANY {
            match raw.unread("grpc.health.v1.Health/Watch", &()).await {
                Ok(answer) => answers.push(answer),
                Err(_) => return,
            }
        }
        pending().await
    })
}

fn idle_connections(server: SocketAddr) -> Attack {
    Box::pin(async move {
        let mut open = Vec::new();
        for _ in 0..MANY {
            let Some(mut stream) = connect(server).await else { return };
            // It may be closed already.
            let _ = stream.write_all(GREETING).await;
            open.push(stream);
        }
        pending().await
    })
}

fn unknown_calls(server: SocketAddr) -> Attack {
    Box::pin(async move {
        let Some(raw) = raw(server).await else { return };
        for _ in 0..MANY {
            if raw.send("no.such.Service/Call", &[], framed(&[])).await.is_err() {
                return;
            }
        }
    })
}
